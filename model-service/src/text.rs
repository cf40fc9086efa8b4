//! Texts as a model takes them: ids of tokens, and the weighted words and word pairs of a bag.

mod bag;
mod tokenizer;

pub(crate) use bag::{BagFeatures, Bags};
pub(crate) use tokenizer::{TextTokenizer, UNKNOWN, Words, vocabulary_json};

#[cfg(test)]
mod tests;
