//! The folder where one system on this machine keeps its data, models and logs, and the lock on it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fs4::TryLockError;

/// The wine data set, built in so that the program alone is enough.
const WINE_CSV: &str = include_str!("../../../data/wine_quality/winequality-red.csv");

/// Nine of ten entities are answered by the model service in Rust, the tenth by the Python worker.
const ROUTES: &str = include_str!("routes.toml");

/// A data folder that this process holds; the lock ends with the process, however it ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder if need be and locks it. A second system on the same folder is refused.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(root.join("logs"))
            .with_context(|| format!("cannot make the data folder {}", root.display()))?;
        let root = fs::canonicalize(root)?;
        let path = root.join("lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)?;
        match fs4::FileExt::try_lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder)?;
                bail!(
                    "another `throughline up` (pid {}) uses the data folder {}; stop it or name another with --data-dir",
                    holder.trim(),
                    root.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self { root, _lock: lock })
    }

    /// The data set as a file, written anew when it is not the built-in one any more.
    pub(crate) fn wine_csv(&self) -> anyhow::Result<PathBuf> {
        let path = self.root.join("winequality-red.csv");
        write_wine_csv(&path)?;
        Ok(path)
    }

    pub(crate) fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    pub(crate) fn predictions(&self) -> PathBuf {
        self.root.join("predictions.db")
    }

    pub(crate) fn features(&self) -> PathBuf {
        self.root.join("features.db")
    }

    /// Holds the name of the database that has all features; a start that was interrupted leaves a database without it.
    pub(crate) fn features_complete(&self) -> PathBuf {
        self.root.join("features.complete")
    }

    /// How requests are shared among variants: written once, then the user's own.
    pub(crate) fn routes(&self) -> anyhow::Result<PathBuf> {
        let path = self.root.join("routes.toml");
        if !path.exists() {
            fs::write(&path, ROUTES).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(path)
    }

    pub(crate) fn log(&self, part: &str) -> PathBuf {
        self.root.join("logs").join(format!("{part}.log"))
    }
}

/// Writes the built-in data set to `path` unless it is there already.
pub(crate) fn write_wine_csv(path: &Path) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|present| present == WINE_CSV.as_bytes()) {
        return Ok(());
    }
    fs::write(path, WINE_CSV).with_context(|| format!("cannot write {}", path.display()))
}
