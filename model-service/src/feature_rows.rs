//! The rows of one request before the model: raw feature vectors, and the rows that have none.

use protocol::RowErrorCode;

/// Feature vectors of the good rows, and for every row of the request its error, if it has one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FeatureRows {
    /// Row-major, good rows only, all finite.
    pub(crate) values: Vec<f32>,
    /// One entry per row of the request; `None` is a good row.
    pub(crate) errors: Vec<Option<RowErrorCode>>,
    /// Values of a row.
    pub(crate) width: usize,
    /// Missing values per feature; empty if none is missing.
    pub(crate) missing: Vec<u64>,
}

impl FeatureRows {
    pub(crate) fn with_capacity(width: usize, rows: usize) -> Self {
        Self {
            values: Vec::with_capacity(width * rows),
            errors: Vec::with_capacity(rows),
            width,
            missing: Vec::new(),
        }
    }

    /// The rows of a tensor \[n, width\]. The usual case, no value missing, keeps the tensor's
    /// memory.
    pub(crate) fn from_values(values: Vec<f32>, width: usize) -> Self {
        let count = values.len() / width;
        if values.iter().all(|value| value.is_finite()) {
            return Self {
                values,
                errors: vec![None; count],
                width,
                missing: Vec::new(),
            };
        }
        let mut rows = Self::with_capacity(width, count);
        for row in values.chunks_exact(width) {
            rows.push(row.iter().copied());
        }
        rows
    }

    /// Adds a row; a value that is not finite counts as missing and fails the row.
    pub(crate) fn push(&mut self, row: impl Iterator<Item = f32>) {
        let start = self.values.len();
        self.values.extend(row);
        let row = &self.values[start..];
        if row.iter().all(|value| value.is_finite()) {
            self.errors.push(None);
            return;
        }
        self.missing.resize(self.width, 0);
        for (value, missing) in row.iter().zip(&mut self.missing) {
            *missing += u64::from(!value.is_finite());
        }
        self.values.truncate(start);
        self.errors.push(Some(RowErrorCode::MissingFeatures));
    }

    /// Takes the good rows that `is_known` refuses, and gives them an error.
    pub(crate) fn take_unknown(&mut self, mut is_known: impl FnMut(&[f32]) -> bool) {
        let width = self.width;
        let (mut read, mut kept) = (0, 0);
        for error in self.errors.iter_mut().filter(|error| error.is_none()) {
            let row = read..read + width;
            read += width;
            if is_known(&self.values[row.clone()]) {
                self.values.copy_within(row, kept);
                kept += width;
            } else {
                *error = Some(RowErrorCode::UnknownCategory);
            }
        }
        self.values.truncate(kept);
    }

    pub(crate) fn push_error(&mut self, error: RowErrorCode) {
        self.errors.push(Some(error));
    }

    /// Rows of the request, good or not.
    pub(crate) fn len(&self) -> usize {
        self.errors.len()
    }

    /// Rows that are good or have missing values.
    pub(crate) fn rows_with_entity(&self) -> usize {
        let known = |error: &&Option<RowErrorCode>| {
            matches!(error, None | Some(RowErrorCode::MissingFeatures))
        };
        self.errors.iter().filter(known).count()
    }

    /// Whether the feature store knows no entity of the request.
    pub(crate) fn is_all_unknown(&self) -> bool {
        self.errors
            .iter()
            .all(|error| *error == Some(RowErrorCode::UnknownEntity))
    }
}
