//! The model repository: `<root>/<name>/<version>/{manifest.json, model.safetensors}` on a file system.
//!
//! A version is written whole or not at all and is never changed afterwards, so that readers need no lock and several
//! services may read one volume. The Python worker keeps its versions in the same folders and the same count, so that a
//! number means one version of a model in whichever language; each service passes over what is the other's.

mod catalog;
mod manifest;
mod write;

pub use catalog::{Catalog, Entry, Loaded, NotServed};
pub use manifest::{
    Dataset, FeatureProfile, Lookup, Manifest, Metrics, Normalisation, ReferenceProfile,
};
pub use write::{WriteError, write_version};

/// Names of the two files of a version.
const MANIFEST: &str = "manifest.json";
const WEIGHTS: &str = "model.safetensors";
/// What this service computes with, as manifests, metadata and `ml.framework` say it.
pub(crate) const FRAMEWORK: &str = "candle";

#[cfg(test)]
mod tests;
