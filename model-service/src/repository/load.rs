//! A version in memory, ready to compute.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::names::Names;
use super::{FRAMEWORK, MANIFEST, Manifest, TOKENIZER, TextInput, WEIGHTS};
use crate::candle::{Mlp, TextBag, TextEncoder};
use crate::encoding::Encoding;
use crate::model::{ComputeError, Model};
use crate::text::TextTokenizer;

/// A version that is served.
pub struct Loaded {
    pub manifest: Manifest,
    pub model: Arc<dyn Model>,
    /// Of a model that takes texts.
    pub(crate) tokenizer: Option<Arc<TextTokenizer>>,
    pub(crate) encoding: Encoding,
    pub(crate) names: Names,
}

impl Loaded {
    pub(crate) fn new(
        manifest: Manifest,
        model: Arc<dyn Model>,
        tokenizer: Option<Arc<TextTokenizer>>,
    ) -> Self {
        Self {
            encoding: Encoding::of(&manifest.features, &manifest.categories),
            names: Names::of(&manifest),
            manifest,
            model,
            tokenizer,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("{0} cannot be read")]
    Read(&'static str, #[source] io::Error),
    #[error("manifest.json is not a manifest")]
    Json(#[source] serde_json::Error),
    /// The version belongs to another service, which is no fault.
    #[error("the version is computed by another framework")]
    Foreign,
    #[error("the manifest contradicts itself: {0}")]
    Manifest(String),
    #[error("the manifest is of {0}, which belongs in another folder")]
    Place(String),
    #[error("{0} is not the file that the manifest was written for")]
    Hash(&'static str),
    #[error("tokenizer.json gives {actual} tokens, and the manifest says {expected}")]
    Tokens { actual: usize, expected: usize },
    #[error("the model cannot be built")]
    Model(#[source] ComputeError),
}

/// Reads the version in the folder `place`; manifest and weights must be those of this folder.
pub(super) fn load(name: &str, version: u64, place: &Path) -> Result<Loaded, LoadError> {
    let manifest = read(place, MANIFEST)?;
    // First of all, because the manifest of another framework may have any other content.
    let framework: Framework = serde_json::from_slice(&manifest).map_err(LoadError::Json)?;
    if framework.framework.is_some_and(|name| name != FRAMEWORK) {
        return Err(LoadError::Foreign);
    }
    let manifest: Manifest = serde_json::from_slice(&manifest).map_err(LoadError::Json)?;
    if manifest.name != name || manifest.version != version.to_string() {
        let named = format!("{} version {}", manifest.name, manifest.version);
        return Err(LoadError::Place(named));
    }
    manifest.check().map_err(LoadError::Manifest)?;
    let weights = read_checked(place, WEIGHTS, &manifest.weights_sha256)?;
    let model = model(&manifest, &weights).map_err(LoadError::Model)?;
    let text = manifest.text.as_ref();
    let tokenizer = text.map(|text| tokenizer(place, text)).transpose()?;
    let tokenizer = tokenizer.map(Arc::new);
    Ok(Loaded::new(manifest, model, tokenizer))
}

fn model(manifest: &Manifest, weights: &[u8]) -> Result<Arc<dyn Model>, ComputeError> {
    let widths = manifest.widths();
    Ok(match &manifest.text {
        None => Arc::new(Mlp::from_safetensors(weights, &widths)?),
        Some(text) => match &text.encoder {
            None => Arc::new(TextBag::from_safetensors(weights, text.tokens, &widths)?),
            Some(encoder) => Arc::new(TextEncoder::from_safetensors(
                weights,
                &encoder.config,
                encoder.head,
                &widths,
            )?),
        },
    })
}

/// Whether the version in the folder `place` is of another framework.
pub(super) fn is_foreign(place: &Path) -> bool {
    let framework = read(place, MANIFEST)
        .ok()
        .and_then(|manifest| serde_json::from_slice::<Framework>(&manifest).ok());
    framework
        .and_then(|framework| framework.framework)
        .is_some_and(|name| name != FRAMEWORK)
}

fn tokenizer(place: &Path, text: &TextInput) -> Result<TextTokenizer, LoadError> {
    let json = read_checked(place, TOKENIZER, &text.tokenizer_sha256)?;
    let tokenizer = match &text.encoder {
        None => TextTokenizer::from_json(&json),
        Some(encoder) => TextTokenizer::of_encoder(&json, encoder.max_tokens),
    };
    let tokenizer = tokenizer.map_err(LoadError::Model)?;
    let (actual, expected) = (tokenizer.tokens(), text.tokens);
    if actual == expected {
        Ok(tokenizer)
    } else {
        Err(LoadError::Tokens { actual, expected })
    }
}

/// The file, if it has that hash.
fn read_checked(place: &Path, file: &'static str, sha256: &str) -> Result<Vec<u8>, LoadError> {
    let content = read(place, file)?;
    if hex::encode(Sha256::digest(&content)) == sha256 {
        Ok(content)
    } else {
        Err(LoadError::Hash(file))
    }
}

/// The one field that every framework's manifest has.
#[derive(Deserialize)]
struct Framework {
    framework: Option<String>,
}

fn read(place: &Path, file: &'static str) -> Result<Vec<u8>, LoadError> {
    fs::read(place.join(file)).map_err(|error| LoadError::Read(file, error))
}

impl fmt::Debug for Loaded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Loaded({} {})",
            self.manifest.name, self.manifest.version
        )
    }
}
