//! `throughline python-setup`: a virtual environment with exactly the libraries of the lock file.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use fs4::FileExt;

use super::{EnvironmentState, JAX_LOCK, LOCK, PACKAGE, PythonEnvironment, file};
use crate::cli::{Extra, PythonSetupArgs};
use crate::screen;

/// The oldest Python that the worker runs on.
pub(super) const OLDEST: (u32, u32) = (3, 10);
/// The oldest that the JAX of the lock file runs on.
const OLDEST_OF_JAX: (u32, u32) = (3, 11);
/// Programs to try without `--python`. The plain name is first, since it is the user's default.
const CANDIDATES: [&str; 6] = [
    "python3",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
    "python",
];

/// Creates the environment, unless it is there and up to date.
pub(crate) fn main(args: &PythonSetupArgs) -> anyhow::Result<()> {
    let root = args.environment();
    let parent = root
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    // Tests and users may start at the same time; the second one then finds the work done.
    let lock = fs::File::create(root.with_extension("lock"))?;
    FileExt::lock(&lock)?;
    let jax = args.extra == Some(Extra::Jax);
    let state = PythonEnvironment::find(&root)?;
    let begun = Instant::now();
    match state {
        EnvironmentState::Ready(ready) if ready.has_jax || !jax => {
            screen::say(format!(
                "the Python environment {} is up to date",
                root.display()
            ));
            return Ok(());
        }
        EnvironmentState::Ready(ready) => {
            let python = ready.program("python").display().to_string();
            find_python(Some(&python), OLDEST_OF_JAX)?;
            screen::say(format!("adding JAX to {}", root.display()));
            install(&ready, JAX_LOCK)?;
        }
        EnvironmentState::Missing | EnvironmentState::Outdated => {
            let oldest = if jax { OLDEST_OF_JAX } else { OLDEST };
            let python = find_python(args.python.as_deref(), oldest)?;
            screen::say(format!(
                "making the Python environment {} with {python}",
                root.display()
            ));
            make(&root, &python, if jax { JAX_LOCK } else { LOCK })?;
        }
    }
    screen::say(format!(
        "installed what {PACKAGE} needs in {:.0} s",
        begun.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn make(root: &Path, python: &str, lock: &str) -> anyhow::Result<()> {
    if root.exists() {
        // Only an environment is removed, never a folder with other files.
        if !root.join("pyvenv.cfg").is_file() && fs::read_dir(root)?.next().is_some() {
            bail!(
                "{} is not a Python environment; name another folder with --python-environment",
                root.display()
            );
        }
        fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    run(Command::new(python).args(["-m", "venv"]).arg(root)).context(
        "cannot create a virtual environment; on Debian and Ubuntu install the package python3-venv",
    )?;
    let environment = PythonEnvironment {
        root: root.to_owned(),
        has_jax: lock == JAX_LOCK,
    };
    install(&environment, lock)
}

/// Installs the libraries of a lock file; those of the other one are part of it or stay.
fn install(environment: &PythonEnvironment, lock: &str) -> anyhow::Result<()> {
    let wanted = environment.root.join("wanted.lock");
    fs::write(&wanted, file(lock)?)?;
    let mut install = Command::new(environment.program("python"));
    install.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
        "--quiet",
    ]);
    install
        .args(["--require-hashes", "--only-binary", ":all:", "-r"])
        .arg(&wanted);
    run(&mut install).context("cannot install the libraries of the worker")?;
    environment.write_package()?;
    // Last, since this file marks the environment as complete.
    fs::rename(&wanted, environment.root.join(LOCK))?;
    Ok(())
}

/// The named Python or the first that is found, if it is new enough.
pub(super) fn find_python(named: Option<&str>, oldest: (u32, u32)) -> anyhow::Result<String> {
    let candidates = named.map_or_else(|| CANDIDATES.to_vec(), |named| vec![named]);
    let mut seen = Vec::new();
    for candidate in candidates {
        let Some((major, minor)) = version(candidate) else {
            continue;
        };
        if (major, minor) >= oldest {
            return Ok(candidate.to_owned());
        }
        seen.push(format!("{candidate} is {major}.{minor}"));
    }
    let (major, minor) = oldest;
    let seen = if seen.is_empty() {
        "none was found".to_owned()
    } else {
        seen.join(", ")
    };
    bail!("Python {major}.{minor} or newer is needed ({seen}); name one with --python")
}

fn version(python: &str) -> Option<(u32, u32)> {
    let output = Command::new(python)
        .args(["-c", "import sys; print(*sys.version_info[:2])"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Runs a command to its end; its output goes to the terminal.
pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if status.success() {
        Ok(())
    } else {
        bail!("{} ended with {status}", command.get_program().display())
    }
}
