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
/// The same, and what distributed training needs.
const JAX_LOCK: &str = "requirements-jax.lock";
/// The variables that instrument the worker without a change of its code.
const INSTRUMENTATION: &str = "instrumentation.env";
const PACKAGE: &str = "throughline_worker";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// A virtual environment that can run this program's worker.
#[derive(Clone, Debug)]
pub(crate) struct PythonEnvironment {
    root: PathBuf,
    has_jax: bool,
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
        let has_jax = made_from == file(JAX_LOCK)?;
        if !has_jax && made_from != file(LOCK)? {
            return Ok(EnvironmentState::Outdated);
        }
        let environment = Self {
            root: fs::canonicalize(root)?,
            has_jax,
        };
        environment.write_package()?;
        Ok(EnvironmentState::Ready(environment))
    }

    /// The folder, as an absolute path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it can train distributed.
    pub(crate) fn has_jax(&self) -> bool {
        self.has_jax
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

/// The variables that instrument a Python process as the service `name`. The user's own win; the
/// resource is merged instead, and has the user's in it.
pub(crate) fn instrumentation(name: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    for line in file(INSTRUMENTATION)?.lines().map(str::trim) {
        if line.starts_with('#') {
            continue;
        }
        let Some((variable, value)) = line.split_once('=') else {
            continue;
        };
        let value = value.trim_matches('"');
        if variable == RESOURCE {
            variables.push((variable.to_owned(), resource(value)));
        } else if std::env::var_os(variable).is_none() {
            variables.push((variable.to_owned(), value.to_owned()));
        }
    }
    variables.push(("OTEL_SERVICE_NAME".to_owned(), name.to_owned()));
    Ok(variables)
}

/// The worker's own attributes, the commit of this program and the user's attributes; of two with
/// the same name the later wins.
fn resource(own: &str) -> String {
    let revision =
        telemetry::revision().map(|revision| format!("vcs.ref.head.revision={revision}"));
    let theirs = std::env::var(RESOURCE)
        .ok()
        .filter(|theirs| !theirs.is_empty());
    [Some(own.to_owned()), revision, theirs]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(",")
}

/// A file of the worker that is built in.
fn file(name: &str) -> anyhow::Result<&'static str> {
    let found = FILES.iter().find(|(path, _)| *path == name);
    found
        .map(|(_, text)| *text)
        .with_context(|| format!("{name} of the Python worker is not built in"))
}
