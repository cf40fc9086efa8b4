//! What the model repository already has.

use std::ffi::OsStr;
use std::path::Path;

/// Weights of the model service in Rust.
pub(crate) const RUST_WEIGHTS: &str = "model.safetensors";
/// Weights of the Python worker.
pub(crate) const PYTHON_WEIGHTS: &str = "model.skops";

/// Whether a complete version of the model has a file of that name.
pub(crate) fn has_version(repository: &Path, model: &str, weights: &str) -> bool {
    let versions = std::fs::read_dir(repository.join(model));
    versions.into_iter().flatten().flatten().any(|version| {
        !is_unfinished(&version.file_name()) && version.path().join(weights).is_file()
    })
}

/// A version has a hidden name until it is complete.
fn is_unfinished(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with('.')
}
