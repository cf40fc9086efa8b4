//! The environment of the Python worker: what is in it, whether it is there, and how programs of it are started.
//!
//! The worker's files are built into this program. `throughline python-setup` makes a virtual environment with what the
//! worker needs; the worker's own files are written into it whenever it is used, so that they are never older than this program.

mod setup;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

pub(crate) use setup::main;

/// Files of `model-service/python`, by their path in it.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/python_worker.rs"));
/// What is installed, with versions and hashes. A copy in the environment tells what it was made from.
const LOCK: &str = "requirements.lock";
/// The variables that instrument the worker without a line of its code.
const INSTRUMENTATION: &str = "instrumentation.env";
const PACKAGE: &str = "throughline_worker";

/// A virtual environment that can run this program's worker.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    root: PathBuf,
}

/// What became of looking for an environment.
#[derive(Debug)]
pub(crate) enum Found {
    Ready(Environment),
    Missing,
    /// Made for other versions of the libraries.
    Outdated,
}

impl Environment {
    /// Looks into a folder; what is not a whole environment is none.
    pub(crate) fn find(root: &Path) -> anyhow::Result<Found> {
        let Ok(made_from) = fs::read_to_string(root.join(LOCK)) else {
            return Ok(Found::Missing);
        };
        if made_from != file(LOCK)? {
            return Ok(Found::Outdated);
        }
        let environment = Self {
            root: fs::canonicalize(root)?,
        };
        environment.write_package()?;
        Ok(Found::Ready(environment))
    }

    /// The program that instruments a Python program with zero code, and what it is told to start `module`.
    pub(crate) fn instrumented(&self, module: &str) -> (PathBuf, Vec<String>) {
        let python = self.program("python").display().to_string();
        (
            self.program("opentelemetry-instrument"),
            vec![python, "-m".to_owned(), module.to_owned()],
        )
    }

    /// Writes the worker's package where this environment's Python finds it.
    fn write_package(&self) -> anyhow::Result<()> {
        let packages = self.site_packages()?;
        for (path, text) in FILES {
            let Some(path) = path.strip_prefix("src/") else {
                continue;
            };
            let path = packages.join(path);
            if fs::read(&path).is_ok_and(|present| present == text.as_bytes()) {
                continue;
            }
            let folder = path.parent().unwrap_or(&packages);
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            // Renamed into place: another process may be reading the old one.
            let new = path.with_extension(format!("new-{}", std::process::id()));
            fs::write(&new, text).with_context(|| format!("cannot write {}", new.display()))?;
            fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn site_packages(&self) -> anyhow::Result<PathBuf> {
        let lib = self.root.join("lib");
        let entries = fs::read_dir(&lib)
            .with_context(|| format!("{} is no Python environment", self.root.display()))?;
        for entry in entries {
            let packages = entry?.path().join("site-packages");
            if packages.is_dir() {
                return Ok(packages);
            }
        }
        bail!(
            "{} is no Python environment: it has no site-packages",
            self.root.display()
        )
    }

    fn program(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }
}

/// The variables of `instrumentation.env`.
pub(crate) fn instrumentation() -> anyhow::Result<Vec<(String, String)>> {
    let lines = file(INSTRUMENTATION)?.lines().map(str::trim);
    let settings = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let settings = settings.filter_map(|line| line.split_once('='));
    Ok(settings
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect())
}

/// A file of the worker that is built in.
fn file(name: &str) -> anyhow::Result<&'static str> {
    let found = FILES.iter().find(|(path, _)| *path == name);
    found
        .map(|(_, text)| *text)
        .with_context(|| format!("{name} of the Python worker is not built in"))
}
