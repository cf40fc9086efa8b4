//! The model repository: `<root>/<name>/<version>/{manifest.json, model.safetensors}` on a file
//! system, with `tokenizer.json` for a model that takes texts.
//!
//! A version is written whole or not at all and never changes afterwards, so readers need no lock
//! and several services can read one volume. The Python worker writes its versions into the same
//! folders and continues the same count, so a number means one version of a model in whichever
//! language. Each service skips the versions of the other.

mod add;
mod control;
mod current;
mod index;
mod load;
mod manifest;
mod names;
mod write;

pub use add::{AddError, AddOptions, add};
pub use control::{ControlError, Target};
pub use index::{ModelRepository, ModelVersions, NotServed};
pub use load::Loaded;
pub(crate) use manifest::TEMPERATURES;
pub use manifest::{
    Added, Calibration, Dataset, EncoderInput, FeatureProfile, Hyperparameters, Lookup, Manifest,
    Metrics, Normalisation, ReferenceProfile, Regression, TEXT_FEATURES, TextInput, TrainingRun,
};
pub(crate) use names::Label;
pub(crate) use write::version_number;
pub use write::{VersionFiles, WriteError, write_version};

/// Names of the files of a version.
const MANIFEST: &str = "manifest.json";
const WEIGHTS: &str = "model.safetensors";
/// Only of a model that takes texts.
const TOKENIZER: &str = "tokenizer.json";
/// The framework of this service's models: in manifests, metadata and `ml.framework`.
pub(crate) const FRAMEWORK: &str = "candle";

#[cfg(test)]
mod tests;
