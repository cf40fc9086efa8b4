//! The environment of the Python worker: its files, its state, and the command that runs a module
//! in it.
//!
//! The worker's files are built into this program. `throughline python-setup` creates a virtual
//! environment with the libraries that the worker needs. The worker's own files are written into it
//! at every use, so that they are never older than this program.

pub(crate) mod encoder;
mod setup;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

pub(crate) use setup::main;

/// Files of `model-service/python`, by their path in it.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/python_worker.rs"));
/// The libraries to install, with versions and hashes. The environment has a copy of the file it
/// was created from.
const LOCK: &str = "requirements.lock";
/// The variables that instrument the worker without a change of its code.
const INSTRUMENTATION: &str = "instrumentation.env";
const PACKAGE: &str = "throughline_worker";

/// A virtual environment that can run this program's worker.
#[derive(Clone, Debug)]
pub(crate) struct PythonEnvironment {
    root: PathBuf,
}

/// The state of the environment in a folder.
#[derive(Debug)]
pub(crate) enum EnvironmentState {
    Ready(PythonEnvironment),
    Missing,
    /// Created with other versions of the libraries.
    Outdated,
}

impl PythonEnvironment {
    /// Looks into a folder. An unfinished environment counts as missing.
    pub(crate) fn find(root: &Path) -> anyhow::Result<EnvironmentState> {
        let Ok(made_from) = fs::read_to_string(root.join(LOCK)) else {
            return Ok(EnvironmentState::Missing);
        };
        if made_from != file(LOCK)? {
            return Ok(EnvironmentState::Outdated);
        }
        let environment = Self {
            root: fs::canonicalize(root)?,
        };
        environment.write_package()?;
        Ok(EnvironmentState::Ready(environment))
    }

    /// The folder, as an absolute path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The program that instruments Python code, and its arguments to run `module`.
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
                .with_context(|| format!("cannot create {}", folder.display()))?;
            // Renamed into place, since another process may be reading the old file.
            let new = path.with_extension(format!("new-{}", std::process::id()));
            fs::write(&new, text).with_context(|| format!("cannot write {}", new.display()))?;
            fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn site_packages(&self) -> anyhow::Result<PathBuf> {
        let lib = self.root.join("lib");
        let entries = fs::read_dir(&lib)
            .with_context(|| format!("{} is not a Python environment", self.root.display()))?;
        for entry in entries {
            let packages = entry?.path().join("site-packages");
            if packages.is_dir() {
                return Ok(packages);
            }
        }
        bail!(
            "{} is not a Python environment: it has no site-packages",
            self.root.display()
        )
    }

    fn program(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }
}

/// The variables of `instrumentation.env`.
pub(crate) fn instrumentation() -> anyhow::Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    for line in file(INSTRUMENTATION)?.lines().map(str::trim) {
        if !line.starts_with('#')
            && let Some((name, value)) = line.split_once('=')
        {
            variables.push((name.to_owned(), value.trim_matches('"').to_owned()));
        }
    }
    Ok(variables)
}

/// A file of the worker that is built in.
fn file(name: &str) -> anyhow::Result<&'static str> {
    let found = FILES.iter().find(|(path, _)| *path == name);
    found
        .map(|(_, text)| *text)
        .with_context(|| format!("{name} of the Python worker is not built in"))
}
