//! The split by whole review: what one person wrote is never on both sides.

use sha2::{Digest, Sha256};

use super::data::TextExample;

/// A training part and a validation part, which borrow the examples.
#[derive(Debug)]
pub(super) struct Split<'a> {
    pub(super) training: Vec<&'a TextExample>,
    pub(super) validation: Vec<&'a TextExample>,
}

/// The reviews of one fold of `folds` are the validation part.
pub(super) fn split(examples: &[TextExample], fold: u64, folds: u64, seed: u64) -> Split<'_> {
    let (validation, training) = examples
        .iter()
        .partition(|example| fold_of(&example.review, folds, seed) == fold);
    Split {
        training,
        validation,
    }
}

/// Those of other snippets whose reviews are held out, too.
pub(super) fn held_out(
    examples: &[TextExample],
    fold: u64,
    folds: u64,
    seed: u64,
) -> Vec<&TextExample> {
    let examples = examples.iter();
    examples
        .filter(|example| fold_of(&example.review, folds, seed) == fold)
        .collect()
}

/// The fold is decided by the hash of seed and review, so it stays when reviews are added.
fn fold_of(review: &str, folds: u64, seed: u64) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(review.as_bytes());
    let digest = hasher.finalize();
    let hash = digest
        .first_chunk()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes));
    hash % folds
}
