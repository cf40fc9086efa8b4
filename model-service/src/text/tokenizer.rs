//! The tokenizer of a text model, read from `tokenizer.json` in Hugging Face's format. The only file
//! that names the crate `tokenizers`.

use serde_json::{Map, Value, json};
use tokenizers::tokenizer::{
    Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};

use crate::model::ComputeError;

/// The id of every word that the training did not have.
pub(crate) const UNKNOWN: u32 = 0;
const UNKNOWN_WORD: &str = "[UNK]";

/// Turns texts into ids of tokens.
#[derive(Debug)]
pub(crate) struct TextTokenizer(tokenizers::Tokenizer);

/// Splits texts into words as [`TextTokenizer`] does, before there is a vocabulary.
#[derive(Debug)]
pub(crate) struct Words(TextTokenizer);

impl TextTokenizer {
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, ComputeError> {
        let tokenizer = tokenizers::Tokenizer::from_bytes(json);
        tokenizer.map(Self).map_err(ComputeError::Tokenizer)
    }

    /// How many different ids it gives.
    pub(crate) fn tokens(&self) -> usize {
        self.0.get_vocab_size(true)
    }

    /// The ids of the text's tokens; none for a text of spaces and control characters.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, ComputeError> {
        let encoding = self.0.encode_fast(text, false);
        let encoding = encoding.map_err(ComputeError::Tokenizer)?;
        Ok(encoding.get_ids().to_vec())
    }
}

impl Words {
    pub(crate) fn new() -> Result<Self, ComputeError> {
        TextTokenizer::from_json(&vocabulary_json([])).map(Self)
    }

    pub(crate) fn of(&self, text: &str) -> Result<Vec<String>, ComputeError> {
        let mut split = PreTokenizedString::from(text);
        let tokenizer = &self.0.0;
        if let Some(normalizer) = tokenizer.get_normalizer() {
            split
                .normalize(|part| normalizer.normalize(part))
                .map_err(ComputeError::Tokenizer)?;
        }
        if let Some(splitter) = tokenizer.get_pre_tokenizer() {
            splitter
                .pre_tokenize(&mut split)
                .map_err(ComputeError::Tokenizer)?;
        }
        let words = split.get_splits(OffsetReferential::Original, OffsetType::None);
        Ok(words
            .into_iter()
            .map(|(word, _, _)| word.to_owned())
            .collect())
    }
}

/// `tokenizer.json` of a vocabulary of whole words, in lower case and without accents. Punctuation
/// marks are words of their own, so `don't` is three.
pub(crate) fn vocabulary_json<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let words = std::iter::once(UNKNOWN_WORD).chain(words);
    let vocabulary: Map<String, Value> = words
        .enumerate()
        .map(|(id, word)| (word.to_owned(), id.into()))
        .collect();
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": true,
            "strip_accents": true,
            "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": UNKNOWN_WORD},
    });
    tokenizer.to_string().into_bytes()
}
