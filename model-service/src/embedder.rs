//! Texts to vectors: the tokenizer and the encoder of a Hugging Face folder.

mod folder;

use std::path::Path;

pub use folder::{EncoderFiles, FolderError};
use folder::{TOKENIZER, WEIGHTS};

use crate::candle::Encoder;
use crate::model::{ComputeError, Tokens};
use crate::text::TextTokenizer;

/// Turns texts into vectors.
#[derive(Debug)]
pub struct Embedder {
    tokenizer: TextTokenizer,
    encoder: Encoder,
}

impl EncoderFiles {
    /// The tokenizer, if the encoder has an embedding for each of its tokens.
    pub(crate) fn text_tokenizer(&self) -> Result<TextTokenizer, FolderError> {
        let path = self.folder.join(TOKENIZER);
        let tokenizer = TextTokenizer::of_encoder(&self.tokenizer, self.max_tokens);
        let tokenizer = tokenizer.map_err(|source| FolderError::Model {
            path: path.clone(),
            source,
        })?;
        let (tokens, embeddings) = (tokenizer.highest_id() + 1, self.config.vocab_size);
        if tokens > embeddings {
            let what = format!(
                "it gives {tokens} tokens, and vocab_size of config.json is {embeddings}: they are of different models"
            );
            return Err(FolderError::file(&path, what));
        }
        Ok(tokenizer)
    }

    /// The error for weights that cannot be used.
    pub(crate) fn weights_fault(&self, source: ComputeError) -> FolderError {
        FolderError::Model {
            path: self.folder.join(WEIGHTS),
            source,
        }
    }

    /// The error for a tokenizer that cannot be used.
    pub(crate) fn tokenizer_fault(&self, what: &str) -> FolderError {
        FolderError::file(&self.folder.join(TOKENIZER), what)
    }
}

impl Embedder {
    /// Reads the folder of an encoder.
    pub fn of_folder(folder: &Path) -> Result<Self, FolderError> {
        Self::new(&EncoderFiles::read(folder)?)
    }

    pub fn new(files: &EncoderFiles) -> Result<Self, FolderError> {
        let tokenizer = files.text_tokenizer()?;
        let encoder = Encoder::from_safetensors(&files.weights, &files.config);
        let encoder = encoder.map_err(|source| files.weights_fault(source))?;
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
