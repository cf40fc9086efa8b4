//! The folder with the data, models and logs of one system on this machine, and the lock on it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fs4::TryLockError;

use crate::data_sets::DataSet;

/// How the files of routes begin.
const ROUTES: &str = include_str!("routes.toml");
/// The traffic split of `wine_quality`: the model service in Rust answers nine of ten entities, the
/// Python worker one.
const WORKER_ROUTES: &str = include_str!("routes-python.toml");
/// The split of `text_sentiment`: the bag of words answers nine of ten texts, the encoder one.
const ENCODER_ROUTES: &str = include_str!("routes-encoder.toml");

/// A data folder with a lock, which the kernel releases however the process ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the folder if it is missing, and locks it. A second system on the same folder is
    /// refused.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(root.join("logs"))
            .with_context(|| format!("cannot create the data folder {}", root.display()))?;
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
        let data = Self { root, _lock: lock };
        // Of a system that has ended.
        match fs::remove_file(data.gateway_address()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(data),
        }
    }

    /// Where the explorer reads the gateway's address.
    pub(crate) fn gateway_address(&self) -> PathBuf {
        self.root.join("gateway-address")
    }

    /// Writes the gateway's address, now that it listens.
    pub(crate) fn write_gateway_address(&self, url: &str) -> anyhow::Result<()> {
        let path = self.gateway_address();
        fs::write(&path, url).with_context(|| format!("cannot write {}", path.display()))
    }

    /// A data set as a file; a file that differs from the built-in data set is overwritten.
    pub(crate) fn csv(&self, data: DataSet) -> anyhow::Result<PathBuf> {
        data.write_into(&self.root)
    }

    pub(crate) fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// The model repository of the second variant of `text_sentiment`.
    pub(crate) fn encoded(&self) -> PathBuf {
        self.root.join("encoded")
    }

    pub(crate) fn predictions(&self) -> PathBuf {
        self.root.join("predictions.db")
    }

    pub(crate) fn features(&self) -> PathBuf {
        self.root.join("features.db")
    }

    /// Where trained tables declare their feature views.
    pub(crate) fn feature_views(&self) -> PathBuf {
        self.root.join("feature-views")
    }

    /// A file with the name of the database that has all features. An interrupted start leaves a
    /// database without it.
    pub(crate) fn features_complete(&self) -> PathBuf {
        self.root.join("features.complete")
    }

    /// The traffic split of the parts that run; each combination has a file of its own, since a file
    /// must name no service that is not there. It is written once, and the user may edit it.
    pub(crate) fn routes(&self, worker: bool, encoder: bool) -> anyhow::Result<Option<PathBuf>> {
        let (name, text) = match (worker, encoder) {
            (false, false) => return Ok(None),
            (true, false) => ("routes.toml", [ROUTES, WORKER_ROUTES].concat()),
            (false, true) => ("routes-encoder.toml", [ROUTES, ENCODER_ROUTES].concat()),
            (true, true) => (
                "routes-python-encoder.toml",
                [ROUTES, WORKER_ROUTES, ENCODER_ROUTES].concat(),
            ),
        };
        self.written_once(name, &text).map(Some)
    }

    /// The rules that the explorer evaluates, likewise.
    pub(crate) fn rules(&self) -> anyhow::Result<PathBuf> {
        self.written_once("rules.toml", explorer::rules::DEFAULT_RULES)
    }

    fn written_once(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.root.join(name);
        if !path.exists() {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(path)
    }

    /// The folder of all logs: of each part the current one and those of two earlier starts.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(crate) fn log(&self, part: &str) -> PathBuf {
        self.logs().join(format!("{part}.log"))
    }
}
