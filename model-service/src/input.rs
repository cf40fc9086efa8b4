//! The rows of one request on their way to the model: raw feature vectors, and the rows that have none.

/// Feature vectors of the good rows, and for every row of the request what is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    /// Row-major, good rows only, all finite.
    pub(crate) values: Vec<f32>,
    /// One entry per row of the request; `None` is a good row.
    pub(crate) failures: Vec<Option<RowError>>,
    /// Missing values per feature.
    pub(crate) missing: Vec<u64>,
}

/// Why one row of a batch has no prediction while the others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowError {
    /// The feature store does not know the entity.
    NotFound,
    /// Its features are older than the feature view allows.
    OutsideMaxAge,
    /// At least one feature is null or not a number.
    MissingFeatures,
}

impl RowError {
    /// The word in the `error` output.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::OutsideMaxAge => "outside_max_age",
            Self::MissingFeatures => "missing_features",
        }
    }
}

impl Input {
    pub(crate) fn with_capacity(width: usize, rows: usize) -> Self {
        Self {
            values: Vec::with_capacity(width * rows),
            failures: Vec::with_capacity(rows),
            missing: vec![0; width],
        }
    }

    /// The rows of a tensor \[n, width\]. The usual case, no value missing, keeps the tensor's memory.
    pub(crate) fn from_values(values: Vec<f32>, width: usize) -> Self {
        let rows = values.len() / width;
        if values.iter().all(|value| value.is_finite()) {
            return Self {
                values,
                failures: vec![None; rows],
                missing: vec![0; width],
            };
        }
        let mut input = Self::with_capacity(width, rows);
        for row in values.chunks_exact(width) {
            input.push(row.iter().copied());
        }
        input
    }

    /// Adds a row; a value that is not finite is missing, and the row fails.
    pub(crate) fn push(&mut self, row: impl Iterator<Item = f32>) {
        let start = self.values.len();
        self.values.extend(row);
        let mut whole = true;
        for (value, missing) in self.values[start..].iter().zip(&mut self.missing) {
            if !value.is_finite() {
                *missing += 1;
                whole = false;
            }
        }
        if whole {
            self.failures.push(None);
        } else {
            self.values.truncate(start);
            self.failures.push(Some(RowError::MissingFeatures));
        }
    }

    pub(crate) fn push_failed(&mut self, error: RowError) {
        self.failures.push(Some(error));
    }

    /// Rows of the request, good or not.
    pub(crate) fn rows(&self) -> usize {
        self.failures.len()
    }

    /// Whether no entity of the request is known.
    pub(crate) fn is_all_unknown(&self) -> bool {
        self.failures
            .iter()
            .all(|failure| *failure == Some(RowError::NotFound))
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.failures.iter().any(Option::is_some)
    }
}
