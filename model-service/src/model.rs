//! A model as the engine sees it: a plain batch in, plain vectors out, no types of a framework.

/// Computes class probabilities for a batch, synchronously, on the thread that calls it.
///
/// Implementations create the `layer …` spans themselves, as children of the current span.
pub trait Model: Send + Sync {
    /// One row of probabilities (they add up to 1) per row of `batch`, in the same order.
    ///
    /// A row that cannot be computed, because a number of it overflows, is NaN. It is no error: the
    /// other rows are good.
    fn probabilities(&self, batch: &Batch) -> Result<Probabilities, ComputeError>;

    /// Whether `batch` takes no longer than its way to another thread and back would, some ten
    /// microseconds.
    fn is_short(&self, _batch: &Batch) -> bool {
        false
    }
}

/// What a model computes at once.
#[derive(Clone, Debug, PartialEq)]
pub enum Batch {
    Rows(Rows),
    Tokens(Tokens),
}

impl Batch {
    /// Rows of a table, or texts.
    pub fn len(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len(),
            Self::Tokens(tokens) => tokens.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the other is of the same kind and width, so that both can be one batch.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rows(own), Self::Rows(other)) => own.width == other.width,
            (Self::Tokens(_), Self::Tokens(_)) => true,
            _ => false,
        }
    }

    /// Adds the rows of a batch that [is like](Self::is_like) this one.
    pub(crate) fn append(&mut self, other: &Self) {
        match (self, other) {
            (Self::Rows(own), Self::Rows(other)) => own.values.extend_from_slice(&other.values),
            (Self::Tokens(own), Self::Tokens(other)) => {
                let start = own.ids.len();
                own.ids.extend_from_slice(&other.ids);
                own.ends.extend(other.ends.iter().map(|end| start + end));
            }
            _ => {}
        }
    }
}

/// Texts as the ids of their tokens, one after the other without padding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tokens {
    ids: Vec<u32>,
    /// Where each text ends in `ids`.
    ends: Vec<usize>,
}

impl Tokens {
    pub fn push(&mut self, text: &[u32]) {
        self.ids.extend_from_slice(text);
        self.ends.push(self.ids.len());
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The ids of each text.
    pub fn texts(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.ids[start..*end])
    }
}

/// A batch of feature vectors, row-major: `len` rows of `width` values.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    values: Vec<f32>,
    width: usize,
}

impl Rows {
    /// `None` unless `values` holds a whole number of rows.
    pub fn new(values: Vec<f32>, width: usize) -> Option<Self> {
        (width > 0 && values.len().is_multiple_of(width)).then_some(Self { values, width })
    }

    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The rows as slices of `width` values.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.width)
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

/// The answer for a batch, row-major: one row of `classes` probabilities per input row. Of a
/// regression it is one number, in deviations of the target from its mean, and of a model that only
/// encodes it is a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Probabilities {
    values: Vec<f32>,
    classes: usize,
}

impl Probabilities {
    /// What a network with `width` outputs per row computed: logits, which become probabilities, or
    /// a single number, which stays what it is.
    pub fn from_outputs(outputs: Vec<f32>, width: usize) -> Self {
        if width == 1 {
            return Self::from_values(outputs, width);
        }
        Self::from_logits(outputs, width)
    }

    /// Numbers that are what they are: `width` of them per row.
    pub fn from_values(values: Vec<f32>, width: usize) -> Self {
        Self {
            values,
            classes: width.max(1),
        }
    }

    /// Turns raw scores (logits) into probabilities by a softmax over each row.
    ///
    /// Candle's own softmax would spread the rows of a batch over rayon's pool.
    pub fn from_logits(mut logits: Vec<f32>, classes: usize) -> Self {
        for row in logits.chunks_exact_mut(classes) {
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for value in row.iter_mut() {
                *value = (*value - max).exp();
                sum += *value;
            }
            for value in row.iter_mut() {
                *value /= sum;
            }
        }
        Self {
            values: logits,
            classes,
        }
    }

    /// The same with NaN in every row whose flag is false.
    #[must_use]
    pub fn without(mut self, computable: &[bool]) -> Self {
        for (row, computable) in self.values.chunks_exact_mut(self.classes).zip(computable) {
            if !computable {
                row.fill(f32::NAN);
            }
        }
        self
    }

    /// The answers for parts of the batch of `sizes` rows each.
    pub(crate) fn split(&self, sizes: impl Iterator<Item = usize>) -> impl Iterator<Item = Self> {
        let mut rest = &self.values[..];
        sizes.map(move |rows| {
            let (part, after) = rest.split_at((rows * self.classes).min(rest.len()));
            rest = after;
            Self {
                values: part.to_vec(),
                classes: self.classes,
            }
        })
    }

    /// These rows and then those of another batch of the same classes.
    #[must_use]
    pub(crate) fn followed_by(mut self, other: &Self) -> Self {
        self.values.extend_from_slice(&other.values);
        self
    }

    /// The same after a change of each row.
    #[must_use]
    pub(crate) fn map_rows(mut self, change: impl Fn(&mut [f32])) -> Self {
        self.values.chunks_exact_mut(self.classes).for_each(change);
        self
    }

    /// Whether every row was computed.
    pub fn is_complete(&self) -> bool {
        self.values.iter().all(|value| value.is_finite())
    }

    /// The rows as slices of `classes` values.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.classes)
    }

    pub fn into_values(self) -> Vec<f32> {
        self.values
    }
}

/// The index and the value of the largest probability; the first of equals.
pub fn most_likely(probabilities: &[f32]) -> (usize, f32) {
    let mut best = (0, 0.0);
    for (index, &probability) in probabilities.iter().enumerate() {
        if probability > best.1 {
            best = (index, probability);
        }
    }
    best
}

/// Why weights cannot be read or a batch cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    #[error("the weights cannot be read")]
    Weights(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Of the weights.
    #[error("tensor {name} {fault}")]
    Tensor { name: String, fault: String },
    #[error("the model takes rows of {expected} values, not {actual}")]
    Width { expected: usize, actual: usize },
    #[error("the model does not take this kind of input")]
    Input,
    #[error("the model is of another kind: {0}")]
    Configuration(String),
    #[error("the tokenizer cannot be read")]
    Tokenizer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the computation failed")]
    Compute(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the computation gave a value that is not a number")]
    NotFinite,
}

impl ComputeError {
    pub(crate) fn tensor(name: &str, fault: impl Into<String>) -> Self {
        Self::Tensor {
            name: name.to_owned(),
            fault: fault.into(),
        }
    }
}
