//! What pages clone: a repository with the files of this checkout as they are, committed or not.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::Options;

/// The variable with which git's hook calls this program.
pub(crate) const HOOK_VARIABLE: &str = "DOCS_RUNNER_TIMES_OF";
/// What readers clone.
pub(crate) const PUBLIC: &str = "https://github.com/throughline/throughline";

/// This checkout, and the folder where pages run.
#[derive(Debug)]
pub(crate) struct Checkout {
    pub(crate) root: PathBuf,
    folder: TempDir,
    pub(crate) dev: bool,
}

/// The folder, for the end by a signal, when nothing is dropped.
static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);

impl Checkout {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let folder = TempDir::with_prefix("docs-runner.")?;
        *FOLDER.lock() = Some(folder.path().to_path_buf());
        let checkout = Self {
            root: root()?,
            folder,
            dev: options.dev,
        };
        checkout.make_origin()?;
        checkout.make_hook()?;
        Ok(checkout)
    }

    /// Where pages, and what they clone, are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The commit that the pages are of.
    pub(crate) fn commit(&self) -> String {
        git(&self.root, &["describe", "--always", "--dirty"]).unwrap_or_default()
    }

    /// The folder of everything that cargo builds.
    pub(crate) fn target(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from)
    }

    /// Builds the programs here, before any page: a page finds them built, since its clone's files have the times of these.
    pub(crate) fn build(&self) -> Result<()> {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&self.root).args(["build", "--locked"]);
        if !self.dev {
            cargo.arg("--release");
        }
        ensure!(cargo.status()?.success(), "the build failed");
        Ok(())
    }

    /// A fresh clone.
    pub(crate) fn clone_to(&self, folder: &Path) -> Result<()> {
        let mut command = Command::new("git");
        command
            .args(["clone", "--quiet", PUBLIC])
            .arg(folder)
            .envs(self.variables());
        let output = command.output()?;
        ensure!(
            output.status.success(),
            "git clone: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// The variables that make git answer from here.
    pub(crate) fn variables(&self) -> [(String, String); 5] {
        let folder = self.folder().display();
        [
            ("GIT_CONFIG_COUNT", "2".to_owned()),
            (
                "GIT_CONFIG_KEY_0",
                format!("url.{folder}/origin.git.insteadOf"),
            ),
            ("GIT_CONFIG_VALUE_0", PUBLIC.to_owned()),
            ("GIT_CONFIG_KEY_1", "core.hooksPath".to_owned()),
            ("GIT_CONFIG_VALUE_1", format!("{folder}/hooks")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }

    fn make_origin(&self) -> Result<()> {
        let origin = self.folder().join("origin.git");
        let (origin, root) = (text(&origin)?, text(&self.root)?);
        git(
            &self.root,
            &["clone", "--quiet", "--bare", "--shared", root, origin],
        )?;
        let here = ["--git-dir", origin, "--work-tree", root];
        git(&self.root, &[&here[..], &["add", "--all"]].concat())?;
        let author = [
            "-c",
            "user.name=docs-runner",
            "-c",
            "user.email=docs@runner",
        ];
        let commit = ["commit", "--quiet", "--allow-empty", "-m", "as it is"];
        git(&self.root, &[&here[..], &author, &commit].concat())?;
        Ok(())
    }

    /// A hook that gives the files of a new clone the times of the files here, so that cargo finds what is built up to date.
    fn make_hook(&self) -> Result<()> {
        let hook = self.folder().join("hooks/post-checkout");
        std::fs::create_dir_all(self.folder().join("hooks"))?;
        let program = std::env::current_exe()?;
        let script = format!(
            "#!/bin/sh\n{HOOK_VARIABLE}='{}' exec '{}'\n",
            self.root.display(),
            program.display()
        );
        std::fs::write(&hook, script)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&hook, mode)?;
        Ok(())
    }
}

/// The checkout in which this program runs.
pub(crate) fn root() -> Result<PathBuf> {
    Ok(PathBuf::from(git(
        Path::new("."),
        &["rev-parse", "--show-toplevel"],
    )?))
}

/// Gives the files of the current folder the times of the files in `root`, if they are the same.
pub(crate) fn copy_times(root: &Path) -> Result<()> {
    let listed = git(Path::new("."), &["ls-files"])?;
    for name in listed.lines() {
        copy_time(&root.join(name), Path::new(name))?;
    }
    // A build script asks for the time of the last change of the commit.
    copy_time(&root.join(".git/logs/HEAD"), Path::new(".git/logs/HEAD"))
}

/// Removes the folder of the pages; for an end without drops.
pub(crate) fn remove_folder() {
    if let Some(folder) = FOLDER.lock().take() {
        let _ = std::fs::remove_dir_all(folder);
    }
}

fn copy_time(from: &Path, to: &Path) -> Result<()> {
    let time = |path: &Path| -> Option<SystemTime> { path.metadata().ok()?.modified().ok() };
    if let Some(time) = time(from)
        && to.is_file()
    {
        File::options().append(true).open(to)?.set_modified(time)?;
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path is no UTF-8")
}

fn git(folder: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(args)
        .output()?;
    ensure!(
        output.status.success(),
        "git {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
