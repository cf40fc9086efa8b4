//! Texts to vectors: the tokenizer and the encoder of a Hugging Face folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::candle::{Encoder, EncoderConfig};
use crate::model::{ComputeError, Tokens};
use crate::text::TextTokenizer;

/// The files of an encoder, as a Hugging Face folder has them.
#[derive(Debug)]
pub struct EncoderFiles {
    pub config: EncoderConfig,
    /// `tokenizer.json`
    pub tokenizer: Vec<u8>,
    /// `model.safetensors`
    pub weights: Vec<u8>,
    /// Tokens of a text at most, the rest is cut off.
    pub max_tokens: usize,
}

/// Turns texts into vectors.
#[derive(Debug)]
pub struct Embedder {
    tokenizer: TextTokenizer,
    encoder: Encoder,
}

/// Why a folder cannot be used; nothing of it was taken.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not what Hugging Face writes there", path.display())]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("the pooling of {} is not the mean over all tokens, the only one supported", .0.display())]
    Pooling(PathBuf),
    #[error("the tokenizer gives {tokens} tokens, and the encoder has embeddings of {embeddings}")]
    Tokens { tokens: usize, embeddings: usize },
    #[error(transparent)]
    Model(ComputeError),
}

/// The file of sentence-transformers that lists what follows the encoder.
#[derive(Deserialize)]
struct Module {
    r#type: String,
}

#[derive(Deserialize)]
struct Sentences {
    max_seq_length: Option<usize>,
}

#[derive(Deserialize)]
struct Pooling {
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
}

impl EncoderFiles {
    /// Reads `config.json`, `tokenizer.json` and `model.safetensors`, and what sentence-transformers
    /// adds: `modules.json`, `sentence_bert_config.json`, `1_Pooling/config.json`.
    pub fn read(folder: &Path) -> Result<Self, FolderError> {
        let mut config: EncoderConfig = json(&folder.join("config.json"))?;
        let modules: Vec<Module> = optional(&folder.join("modules.json"))?.unwrap_or_default();
        config.normalise = modules
            .iter()
            .any(|module| module.r#type.ends_with(".Normalize"));
        let pooling = folder.join("1_Pooling/config.json");
        let mean = optional(&pooling)?.is_none_or(|found: Pooling| found.pooling_mode_mean_tokens);
        if !mean {
            return Err(FolderError::Pooling(pooling));
        }
        let sentences: Option<Sentences> = optional(&folder.join("sentence_bert_config.json"))?;
        let limit = sentences.and_then(|sentences| sentences.max_seq_length);
        Ok(Self {
            tokenizer: bytes(&folder.join("tokenizer.json"))?,
            weights: bytes(&folder.join("model.safetensors"))?,
            max_tokens: limit
                .unwrap_or(usize::MAX)
                .min(config.max_position_embeddings),
            config,
        })
    }
}

impl Embedder {
    pub fn new(files: &EncoderFiles) -> Result<Self, FolderError> {
        let tokenizer = TextTokenizer::of_encoder(&files.tokenizer, files.max_tokens)
            .map_err(FolderError::Model)?;
        let (tokens, embeddings) = (tokenizer.highest_id() + 1, files.config.vocab_size);
        if tokens > embeddings {
            return Err(FolderError::Tokens { tokens, embeddings });
        }
        let encoder = Encoder::from_safetensors(&files.weights, &files.config);
        let encoder = encoder.map_err(FolderError::Model)?;
        Ok(Self { tokenizer, encoder })
    }

    /// Values of a vector.
    pub fn width(&self) -> usize {
        self.encoder.width()
    }

    /// The ids of the tokens of each text, with those that begin and end a text.
    pub fn tokens<T: AsRef<str>>(&self, texts: &[T]) -> Result<Tokens, ComputeError> {
        let mut tokens = Tokens::default();
        for text in texts {
            tokens.push(&self.tokenizer.encode(text.as_ref())?);
        }
        Ok(tokens)
    }

    /// Of the ids of a text: how many tokens are its own, and how many of them are unknown.
    pub(crate) fn counts(&self, ids: &[u32]) -> (usize, usize) {
        (self.tokenizer.own(ids), self.tokenizer.unknown(ids))
    }

    /// How many different tokens there are.
    pub(crate) fn vocabulary(&self) -> usize {
        self.tokenizer.tokens()
    }

    /// [`Self::embed`] without spans, for trainings, which would have far too many.
    pub(crate) fn embed_untraced(&self, tokens: &Tokens) -> Result<Vec<f32>, ComputeError> {
        self.encoder.embed_untraced(tokens)
    }

    /// A vector of [`Self::width`] values per text, row-major, with a span per layer.
    pub fn embed(&self, tokens: &Tokens) -> Result<Vec<f32>, ComputeError> {
        self.encoder.embed(tokens)
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, FolderError> {
    fs::read(path).map_err(|source| FolderError::Read {
        path: path.to_path_buf(),
        source,
    })
}

fn json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, FolderError> {
    serde_json::from_slice(&bytes(path)?).map_err(|source| FolderError::Json {
        path: path.to_path_buf(),
        source,
    })
}

/// `None` for a file that is not there.
fn optional<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, FolderError> {
    match json(path) {
        Ok(found) => Ok(Some(found)),
        Err(FolderError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
