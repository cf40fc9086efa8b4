//! The files of a Hugging Face folder, and what can be wrong with them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::candle::EncoderConfig;
use crate::model::ComputeError;

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
pub(crate) const WEIGHTS: &str = "model.safetensors";
const MODULES: &str = "modules.json";
const SENTENCES: &str = "sentence_bert_config.json";
const POOLING: &str = "1_Pooling/config.json";

/// The largest files that are read. A tokenizer of 250,000 words has 17 MB, and the largest BERT 1.3 GB.
const MAX_JSON: u64 = 64 << 20;
const MAX_WEIGHTS: u64 = 4 << 30;
/// More classes are no labels any more: each is a value of a metric's attribute.
const MAX_CLASSES: usize = 1_000;

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
    pub(super) folder: PathBuf,
    is_sentence_encoder: bool,
    task: Task,
}

/// Why a folder cannot be used; nothing of it was taken.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error(
        "cannot read {}; the folder of an encoder has config.json, tokenizer.json and model.safetensors",
        path.display()
    )]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not what Hugging Face writes there", path.display())]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("{}: {what}", path.display())]
    File { path: PathBuf, what: String },
    #[error("{} does not fit config.json", path.display())]
    Model { path: PathBuf, source: ComputeError },
}

/// The fields of `config.json` that say what the model is for.
#[derive(Debug, Default, Deserialize)]
struct Task {
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    id2label: Option<BTreeMap<String, String>>,
    #[serde(default)]
    num_labels: Option<usize>,
    #[serde(default)]
    problem_type: Option<String>,
}

#[derive(Deserialize)]
struct Type {
    model_type: String,
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

impl EncoderFiles {
    /// Reads `config.json`, `tokenizer.json` and `model.safetensors`, and what sentence-transformers
    /// adds: `modules.json`, `sentence_bert_config.json`, `1_Pooling/config.json`.
    pub fn read(folder: &Path) -> Result<Self, FolderError> {
        let path = folder.join(CONFIG);
        let fault = |what| FolderError::file(&path, what);
        // Other encoders have other fields, and are better named by their type.
        let of_type: Type = json(&path)?;
        EncoderConfig::check_type(&of_type.model_type).map_err(fault)?;
        let mut config: EncoderConfig = json(&path)?;
        config.check().map_err(fault)?;
        let modules: Option<Vec<Module>> = optional(&folder.join(MODULES))?;
        config.normalise = check_modules(folder, modules.as_deref().unwrap_or_default())?;
        check_pooling(folder)?;
        let path = folder.join(SENTENCES);
        let sentences: Option<Sentences> = optional(&path)?;
        let limit = sentences.and_then(|sentences| sentences.max_seq_length);
        Ok(Self {
            task: json(&folder.join(CONFIG))?,
            is_sentence_encoder: modules.is_some(),
            tokenizer: bytes(&folder.join(TOKENIZER), MAX_JSON)?,
            weights: bytes(&folder.join(WEIGHTS), MAX_WEIGHTS)?,
            max_tokens: limit
                .unwrap_or(usize::MAX)
                .min(config.max_position_embeddings),
            folder: folder.to_path_buf(),
            config,
        })
    }

    /// The names of the classes in the order of the outputs, or `None` of a sentence encoder.
    pub fn classes(&self) -> Result<Option<Vec<String>>, FolderError> {
        let is = |name: &str| {
            let names = self.task.architectures.iter().flatten();
            names.into_iter().any(|architecture| architecture == name)
        };
        if is("BertForSequenceClassification") {
            return self
                .labels()
                .map(Some)
                .map_err(|what| self.config_fault(what));
        }
        let names = self.task.architectures.as_deref().unwrap_or_default();
        // sentence-transformers takes the encoder out of whatever it was trained as.
        if names.is_empty() || is("BertModel") || self.is_sentence_encoder {
            return Ok(None);
        }
        Err(self.config_fault(format!(
            "architectures is {names:?}; a sentence encoder (BertModel) or BertForSequenceClassification is needed"
        )))
    }

    /// transformers writes `id2label` only if it differs from `LABEL_0`, `LABEL_1`.
    fn labels(&self) -> Result<Vec<String>, String> {
        match self.task.problem_type.as_deref() {
            None | Some("single_label_classification") => {}
            Some(other) => {
                return Err(format!(
                    "problem_type is {other:?}; only single_label_classification is supported"
                ));
            }
        }
        let Some(names) = &self.task.id2label else {
            let count = self.task.num_labels.unwrap_or(2);
            check_count(count)?;
            return Ok((0..count).map(|at| format!("LABEL_{at}")).collect());
        };
        check_count(names.len())?;
        let labels = (0..names.len()).map(|at| {
            let label = names.get(&at.to_string());
            label.cloned().ok_or_else(|| {
                format!(
                    "id2label has {} labels, and none of them for {at}",
                    names.len()
                )
            })
        });
        let labels = labels.collect::<Result<Vec<_>, _>>()?;
        for (at, label) in labels.iter().enumerate() {
            if label.trim().is_empty() || label.chars().any(char::is_control) {
                return Err(format!("the label of {at} in id2label has no name"));
            }
            if labels[..at].contains(label) {
                return Err(format!("id2label has {label:?} twice"));
            }
        }
        Ok(labels)
    }

    fn config_fault(&self, what: String) -> FolderError {
        FolderError::file(&self.folder.join(CONFIG), what)
    }
}

impl FolderError {
    pub(super) fn file(path: &Path, what: impl Into<String>) -> Self {
        Self::File {
            path: path.to_path_buf(),
            what: what.into(),
        }
    }
}

fn check_count(labels: usize) -> Result<(), String> {
    match labels {
        0 | 1 => Err(format!(
            "it has {labels} labels; a classifier has at least two, and one that gives a number is not supported"
        )),
        2..=MAX_CLASSES => Ok(()),
        _ => Err(format!(
            "it has {labels} labels, more than the {MAX_CLASSES} allowed"
        )),
    }
}

/// Whether vectors are normalised. Other modules would change the vector, so there must be none.
fn check_modules(folder: &Path, modules: &[Module]) -> Result<bool, FolderError> {
    let mut normalise = false;
    for Module { r#type } in modules {
        match r#type.rsplit('.').next().unwrap_or_default() {
            "Transformer" | "Pooling" => {}
            "Normalize" => normalise = true,
            _ => {
                let path = folder.join(MODULES);
                let what = format!(
                    "the module {type} is not supported, only Transformer, Pooling and Normalize are"
                );
                return Err(FolderError::file(&path, what));
            }
        }
    }
    Ok(normalise)
}

/// The mean over all tokens is the only pooling; a folder that says nothing of it has the mean.
fn check_pooling(folder: &Path) -> Result<(), FolderError> {
    const MEAN: &str = "pooling_mode_mean_tokens";
    let path = folder.join(POOLING);
    let fields: Option<BTreeMap<String, serde_json::Value>> = optional(&path)?;
    let Some(fields) = fields else {
        return Ok(());
    };
    let modes = fields.iter().filter(|(name, value)| {
        name.starts_with("pooling_mode_") && **value == serde_json::Value::Bool(true)
    });
    let modes: Vec<&str> = modes.map(|(name, _)| name.as_str()).collect();
    if modes == [MEAN] {
        return Ok(());
    }
    let what = format!("the pooling is {modes:?}; only [{MEAN:?}] is supported");
    Err(FolderError::file(&path, what))
}

/// The content of a file that is not empty, of at most so many bytes.
fn bytes(path: &Path, limit: u64) -> Result<Vec<u8>, FolderError> {
    let read = |source| FolderError::Read {
        path: path.to_path_buf(),
        source,
    };
    let fault = |what: String| Err(FolderError::file(path, what));
    // Of the path and not of the open file: opening a pipe waits for its other end.
    let metadata = fs::metadata(path).map_err(read)?;
    if !metadata.is_file() {
        return fault("it is no file".to_owned());
    }
    if metadata.len() > limit {
        return fault(format!(
            "it has {} MB, more than the {} MB allowed",
            metadata.len() >> 20,
            limit >> 20
        ));
    }
    let mut content = Vec::new();
    let file = File::open(path).map_err(read)?;
    // A file that grows meanwhile is cut off, and then does not parse.
    file.take(limit).read_to_end(&mut content).map_err(read)?;
    if content.is_empty() {
        return fault("it is empty; download it again".to_owned());
    }
    if content.starts_with(b"version https://git-lfs") {
        return fault(
            "it is a pointer of Git LFS and not the file; run `git lfs pull` in that folder"
                .to_owned(),
        );
    }
    Ok(content)
}

fn json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, FolderError> {
    serde_json::from_slice(&bytes(path, MAX_JSON)?).map_err(|source| FolderError::Json {
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
