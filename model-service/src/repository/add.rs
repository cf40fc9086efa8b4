//! Adding a model that was trained elsewhere: from a Hugging Face folder to a new version.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::write::{is_name, versions};
use super::{
    Added, Dataset, EncoderInput, FRAMEWORK, Hyperparameters, MANIFEST, Manifest, Metrics,
    ReferenceProfile, TextInput, VersionFiles, WriteError, write_version,
};
use crate::candle::{EncoderHead, TextEncoder};
use crate::embedder::{EncoderFiles, FolderError};
use crate::model::{Batch, ComputeError, Model, Tokens};
use crate::text::TextTokenizer;

/// What to add, and where.
#[derive(Clone, Debug)]
pub struct AddOptions {
    /// The folder with `config.json`, `tokenizer.json` and `model.safetensors`.
    pub folder: PathBuf,
    /// Name of the model; without it that of the folder.
    pub name: Option<String>,
    /// The folder that holds one folder per model.
    pub model_repository: PathBuf,
}

/// Why a model was not added; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    #[error(
        "`{0}` cannot be the name of a model: it has up to 128 letters, digits, `_`, `-` and `.`; name it with --name"
    )]
    Name(String),
    #[error(transparent)]
    Folder(FolderError),
    #[error(
        "{name} is a model from {before}, and this one would be from {after}; add it under another name with --name"
    )]
    OtherKind {
        name: String,
        before: String,
        after: String,
    },
    #[error("the version cannot be written")]
    Write(#[source] WriteError),
}

/// A text with words, marks and characters that few vocabularies have.
const TRIAL: &str = "The pictures are excellent, xyzzy! 世界 ☃";

/// Adds the model of a folder as a new version. The model answers once before anything is written.
pub fn add(options: &AddOptions) -> Result<Manifest, AddError> {
    let files = EncoderFiles::read(&options.folder).map_err(AddError::Folder)?;
    let folder = folder_name(&options.folder);
    let name = options.name.clone().unwrap_or_else(|| folder.clone());
    if !is_name(&name) {
        return Err(AddError::Name(name));
    }
    let tokenizer = files.text_tokenizer().map_err(AddError::Folder)?;
    let classes = files.classes().map_err(AddError::Folder)?;
    let manifest = manifest(name, folder, &files, &tokenizer, classes);
    check_kind(&options.model_repository, &manifest)?;
    try_out(&manifest, &files, &tokenizer).map_err(AddError::Folder)?;
    let content = VersionFiles {
        weights: &files.weights,
        tokenizer: Some(&files.tokenizer),
    };
    write_version(&options.model_repository, manifest, content).map_err(AddError::Write)
}

fn folder_name(folder: &Path) -> String {
    // The path may be `.` or end with `..`.
    let path = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn manifest(
    name: String,
    folder: String,
    files: &EncoderFiles,
    tokenizer: &TextTokenizer,
    classes: Option<Vec<String>>,
) -> Manifest {
    let head = match classes {
        Some(_) => EncoderHead::Classifier,
        None => EncoderHead::Embedding,
    };
    Manifest {
        name,
        version: String::new(),
        run_id: format!("{:032x}", rand::random::<u128>()),
        framework: FRAMEWORK.to_owned(),
        created_at: jiff::Timestamp::now().to_string(),
        source_commit: None,
        dataset: Dataset {
            name: "unknown".to_owned(),
            sha256: String::new(),
            rows: 0,
        },
        weights_sha256: String::new(),
        features: Vec::new(),
        lookup: None,
        normalisation: None,
        categories: BTreeMap::new(),
        text: Some(TextInput {
            tokenizer_sha256: String::new(),
            tokens: tokenizer.tokens(),
            pairs: 0,
            encoder: Some(EncoderInput {
                config: files.config.clone(),
                max_tokens: files.max_tokens,
                head,
            }),
        }),
        classes: classes.unwrap_or_default(),
        regression: None,
        calibration: None,
        hyperparameters: Hyperparameters {
            hidden: Vec::new(),
            learning_rate: 0.0,
            weight_decay: 0.0,
            batch_size: 0,
            epochs: 0,
        },
        seed: 0,
        metrics: Metrics::default(),
        reference: ReferenceProfile {
            features: Vec::new(),
            class_shares: Vec::new(),
            confidence_deciles: Vec::new(),
            values: None,
        },
        training: None,
        added: Some(Added { folder }),
    }
}

/// Clients of a model rely on what it takes and gives, so a new version must not change that.
fn check_kind(root: &Path, manifest: &Manifest) -> Result<(), AddError> {
    let folder = root.join(&manifest.name);
    let newest = versions(&folder).ok().and_then(|all| all.into_iter().max());
    let before = newest.and_then(|version| {
        let path = folder.join(version.to_string()).join(MANIFEST);
        serde_json::from_slice::<Value>(&fs::read(path).ok()?).ok()
    });
    let after = serde_json::to_value(manifest);
    let (Some(before), Ok(after)) = (before, after) else {
        return Ok(());
    };
    let (before, after) = (kind(&before), kind(&after));
    if before == after {
        return Ok(());
    }
    Err(AddError::OtherKind {
        name: manifest.name.clone(),
        before,
        after,
    })
}

/// From what to what a model is, by its manifest, which may be of another framework.
fn kind(manifest: &Value) -> String {
    let input = if manifest["text"].is_object() {
        "texts"
    } else {
        "features"
    };
    let output = if manifest["text"]["encoder"]["head"] == "embedding" {
        "vectors"
    } else if manifest["regression"].is_object() {
        "numbers"
    } else {
        "classes"
    };
    format!("{input} to {output}")
}

/// Builds the model as the service does, and lets it answer.
fn try_out(
    manifest: &Manifest,
    files: &EncoderFiles,
    tokenizer: &TextTokenizer,
) -> Result<(), FolderError> {
    let ids = tokenizer.encode(TRIAL).map_err(|error| {
        let reason = runtime::chain(&error);
        files.tokenizer_fault(&format!("it cannot encode every text: {reason}"))
    })?;
    if tokenizer.own(&ids) == 0 {
        return Err(files.tokenizer_fault("it finds no token in a text"));
    }
    if !manifest.classes.is_empty() && !tokenizer.adds_tokens() {
        return Err(files.tokenizer_fault(
            "it begins no text with [CLS], which the classifier reads; save the tokenizer with its post-processor",
        ));
    }
    let mut tokens = Tokens::default();
    tokens.push(&ids);
    let head = match manifest.embedding() {
        Some(_) => EncoderHead::Embedding,
        None => EncoderHead::Classifier,
    };
    let model =
        TextEncoder::from_safetensors(&files.weights, &files.config, head, &manifest.widths());
    let answer = model.and_then(|model| {
        let answer = model.probabilities(&Batch::Tokens(tokens))?;
        let is_complete = answer.is_complete();
        is_complete.then_some(()).ok_or(ComputeError::NotFinite)
    });
    answer.map_err(|source| files.weights_fault(source))
}
