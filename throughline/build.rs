//! Builds the commit id and the Python worker's files into the program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// The Python worker's package.
const WORKER: &str = "../model-service/python";
/// Its files besides the modules.
const WORKER_FILES: [&str; 3] = [
    "requirements.lock",
    "requirements-jax.lock",
    "instrumentation.env",
];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    embed_revision();
    embed_worker()
}

/// For the resource attribute `vcs.ref.head.revision`.
fn embed_revision() {
    // With a missing path, cargo would run this script at every build.
    let log = Path::new("../.git/logs/HEAD");
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    let revision = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success());
    let revision = revision.and_then(|output| String::from_utf8(output.stdout).ok());
    // Outside a checkout there is none, and the attribute is left out.
    println!(
        "cargo::rustc-env=THROUGHLINE_REVISION={}",
        revision.as_deref().map_or("", str::trim)
    );
}

/// A table of paths and texts, as Rust source: `&[("src/…/app.py", include_str!("…")), …]`.
fn embed_worker() -> io::Result<()> {
    let worker = fs::canonicalize(WORKER)?;
    let mut files = Vec::new();
    modules(&worker.join("src/throughline_worker"), &mut files)?;
    files.extend(WORKER_FILES.map(|name| worker.join(name)));
    let mut table = "&[\n".to_owned();
    for file in files {
        let name = file.strip_prefix(&worker).map_err(io::Error::other)?;
        let _ = writeln!(
            table,
            "    ({:?}, include_str!({:?})),",
            name.display().to_string(),
            file.display().to_string()
        );
    }
    table.push(']');
    fs::write(
        PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("python_worker.rs"),
        table,
    )
}

fn modules(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    // The folder, for new modules; `include_str!` tracks changed ones.
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut paths = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() && path.file_name().is_none_or(|name| name != "__pycache__") {
            modules(&path, found)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "py" || extension == "typed")
        {
            found.push(path);
        }
    }
    Ok(())
}
