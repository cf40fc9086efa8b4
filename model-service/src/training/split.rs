//! The split into a training part and a validation part.

use sha2::{Digest, Sha256};

use super::table::Example;

#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) training: Vec<Example>,
    pub(crate) validation: Vec<Example>,
}

/// About one row in `parts` goes to the validation part.
pub(crate) fn split(examples: &[Example], parts: u64, seed: u64) -> Split {
    let (validation, training) = examples
        .iter()
        .cloned()
        .partition(|example| is_validation(&example.features, parts, seed));
    Split {
        training,
        validation,
    }
}

/// A row is validation if the hash of the seed and its features falls into the lowest of `parts`
/// equal ranges.
///
/// Equal rows get equal hashes, so none of the wine data's 240 repeated wines is on both sides. The
/// Python trainer decides in the same way, in `train/split.py`; a file of expected rows tests both.
pub(crate) fn is_validation(features: &[f32], parts: u64, seed: u64) -> bool {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    for value in features {
        hasher.update(value.to_le_bytes());
    }
    let digest = hasher.finalize();
    let hash = digest
        .first_chunk()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes));
    hash < u64::MAX / parts
}
