//! The model repository: `<root>/<name>/<version>/{manifest.json, model.safetensors}` on a file system.
//!
//! A version is written whole or not at all and is never changed afterwards, so that readers need no lock and several
//! services may read one volume.

mod catalog;
mod manifest;
mod write;

pub use catalog::{Catalog, Entry, Loaded, NotServed};
pub use manifest::{Dataset, FeatureProfile, Lookup, Manifest, Metrics, Normalisation, ReferenceProfile};
pub use write::{WriteError, write_version};

/// Names of the two files of a version.
const MANIFEST: &str = "manifest.json";
const WEIGHTS: &str = "model.safetensors";

#[cfg(test)]
mod tests;
