//! The tokenizer of a text model, read from `tokenizer.json` in Hugging Face's format. The only file
//! that names the crate `tokenizers`.

use serde_json::{Map, Value, json};
use tokenizers::tokenizer::{
    Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};
use tokenizers::{TruncationDirection, TruncationParams, TruncationStrategy};

use crate::model::ComputeError;

/// The id of every word that the training did not have.
pub(crate) const UNKNOWN: u32 = 0;
const UNKNOWN_WORD: &str = "[UNK]";

/// Turns texts into ids of tokens.
#[derive(Debug)]
pub(crate) struct TextTokenizer {
    tokenizer: tokenizers::Tokenizer,
    unknown: Option<u32>,
    /// How many tokens are added to each text; with none of its own they are all it has.
    added: usize,
}

/// Splits texts into words as [`TextTokenizer`] does, before there is a vocabulary.
#[derive(Debug)]
pub(crate) struct Words(TextTokenizer);

impl TextTokenizer {
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, ComputeError> {
        let tokenizer = tokenizers::Tokenizer::from_bytes(json);
        let tokenizer = tokenizer.map_err(ComputeError::Tokenizer)?;
        Ok(Self {
            unknown: tokenizer.token_to_id(UNKNOWN_WORD),
            tokenizer,
            added: 0,
        })
    }

    /// The tokenizer of an encoder: with the tokens that begin and end a text, and without what comes
    /// after the first `max_tokens` and without padding, whatever the file says.
    pub(crate) fn of_encoder(json: &[u8], max_tokens: usize) -> Result<Self, ComputeError> {
        let mut this = Self::from_json(json)?;
        this.tokenizer.with_padding(None);
        this.tokenizer
            .with_truncation(None)
            .map_err(ComputeError::Tokenizer)?;
        let added = this.tokenizer.encode_fast("", true);
        this.added = added.map_err(ComputeError::Tokenizer)?.len();
        if max_tokens <= this.added {
            return Err(ComputeError::Configuration(format!(
                "a text has {max_tokens} tokens at most, of which {} only begin and end it",
                this.added
            )));
        }
        let truncation = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: max_tokens,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        this.tokenizer
            .with_truncation(Some(truncation))
            .map_err(ComputeError::Tokenizer)?;
        Ok(this)
    }

    /// Ids may have gaps, so it can be higher than [`Self::tokens`] says.
    pub(crate) fn highest_id(&self) -> usize {
        let vocabulary = self.tokenizer.get_vocab(true);
        vocabulary.values().max().map_or(0, |id| *id as usize)
    }

    /// How many different ids it gives.
    pub(crate) fn tokens(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Whether each text begins or ends with tokens that are not its own.
    pub(crate) fn adds_tokens(&self) -> bool {
        self.added > 0
    }

    /// How many of the ids are a text's own; none of a text of spaces and control characters.
    pub(crate) fn own(&self, ids: &[u32]) -> usize {
        ids.len().saturating_sub(self.added)
    }

    /// How many of the ids stand for something that is not in the vocabulary.
    pub(crate) fn unknown(&self, ids: &[u32]) -> usize {
        ids.iter().filter(|id| Some(**id) == self.unknown).count()
    }

    /// The ids of the text's tokens.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, ComputeError> {
        let encoding = self.tokenizer.encode_fast(text, self.added > 0);
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
        let tokenizer = &self.0.tokenizer;
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
