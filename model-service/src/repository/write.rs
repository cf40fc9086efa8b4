//! Writing a version: whole, durable, and under a number of its own even with concurrent writers.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{MANIFEST, Manifest, TOKENIZER, WEIGHTS};

/// Attempts to take the next number, which another writer may take first; a hundred times in a row
/// is a fault.
const ATTEMPTS: usize = 100;

/// Why a version was not written. No part of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("`{0}` cannot be the name of a model")]
    Name(String),
    #[error("cannot write to {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the manifest cannot be written as JSON")]
    Manifest(#[source] serde_json::Error),
    #[error("other writers took every version number that was tried")]
    Contended,
}

/// The files of a version besides its manifest.
#[derive(Clone, Copy, Debug)]
pub struct VersionFiles<'a> {
    pub weights: &'a [u8],
    /// Only of a model that takes texts.
    pub tokenizer: Option<&'a [u8]>,
}

/// Writes `files` and `manifest` as the next version of `manifest.name`. Returns the manifest as
/// written, with its version and the hashes of its files.
///
/// The files are written to a hidden folder beside the versions, flushed to the disk and then
/// renamed. So no reader sees a part of a version, and of two writers with the same number the
/// second takes the next one.
pub fn write_version(
    root: &Path,
    mut manifest: Manifest,
    files: VersionFiles<'_>,
) -> Result<Manifest, WriteError> {
    if !is_name(&manifest.name) {
        return Err(WriteError::Name(manifest.name));
    }
    let folder = root.join(&manifest.name);
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    manifest.weights_sha256 = hex::encode(Sha256::digest(files.weights));
    if let (Some(text), Some(tokenizer)) = (&mut manifest.text, files.tokenizer) {
        text.tokenizer_sha256 = hex::encode(Sha256::digest(tokenizer));
    }
    let temporary = Temporary(folder.join(format!(".tmp-{}", manifest.run_id)));
    fs::create_dir(&temporary.0).map_err(at(&temporary.0))?;
    write_synced(&temporary.0.join(WEIGHTS), files.weights).map_err(at(&temporary.0))?;
    if let Some(tokenizer) = files.tokenizer {
        write_synced(&temporary.0.join(TOKENIZER), tokenizer).map_err(at(&temporary.0))?;
    }
    for _ in 0..ATTEMPTS {
        let next = versions(&folder)
            .map_err(at(&folder))?
            .into_iter()
            .max()
            .unwrap_or(0)
            + 1;
        manifest.version = next.to_string();
        let json = serde_json::to_vec_pretty(&manifest).map_err(WriteError::Manifest)?;
        write_synced(&temporary.0.join(MANIFEST), &json).map_err(at(&temporary.0))?;
        sync(&temporary.0).map_err(at(&temporary.0))?;
        match fs::rename(&temporary.0, folder.join(&manifest.version)) {
            Ok(()) => {
                sync(&folder).map_err(at(&folder))?;
                return Ok(manifest);
            }
            Err(error) if is_taken(&error) => {}
            Err(error) => return Err(at(&folder)(error)),
        }
    }
    Err(WriteError::Contended)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_path_buf();
    move |source| WriteError::Io { path, source }
}

/// The numbers of all versions in a model's folder, whole or not.
pub(super) fn versions(folder: &Path) -> io::Result<Vec<u64>> {
    let mut versions = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        versions.extend(name.to_str().and_then(version_number));
    }
    Ok(versions)
}

/// `"12"` is a version; `"012"`, `"v12"` and `".tmp-…"` are not.
pub(crate) fn version_number(name: &str) -> Option<u64> {
    let number: u64 = name.parse().ok()?;
    (number > 0 && number.to_string() == name).then_some(number)
}

/// Names become folders and parts of URLs: letters, digits, `_`, `-` and, except in the first
/// place, `.`.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the names in a folder durable. Windows cannot open a folder as a file; NTFS journals names
/// itself.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
    )
}

/// Removes the folder unless it was renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename the folder does not exist. After a failure, what remains is hidden and
        // harmless.
        let _ = fs::remove_dir_all(&self.0);
    }
}
