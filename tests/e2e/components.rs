//! Real third-party servers, started by the same scripts that `.ci/run` uses, and stopped with the
//! test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// A running Collector or Jaeger on free ports, with a folder of its own.
pub(crate) struct Component {
    pub(crate) dir: TempDir,
    settings: BTreeMap<String, String>,
}

impl Component {
    /// Starts `server` (`collector` or `jaeger`) with configurations of `deploy/collector` and
    /// variables for them.
    pub(crate) fn start(
        server: &str,
        configurations: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Self> {
        let dir = TempDir::new()?;
        let configurations = configurations
            .iter()
            .map(|file| root().join("deploy/collector").join(file));
        let output = Command::new(script("start"))
            .arg(server)
            .arg(dir.path())
            .args(configurations)
            .envs(env.iter().copied())
            // The server ends with this test, passed or failed.
            .env(
                "THROUGHLINE_COMPONENTS_OWNER",
                std::process::id().to_string(),
            )
            .output()?;
        if !output.status.success() {
            bail!(
                "{server} does not start: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let said = String::from_utf8(output.stdout)?;
        let settings = said.lines().filter_map(|line| line.split_once('='));
        Ok(Self {
            settings: settings
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            dir,
        })
    }

    /// An address that the server printed, such as `COLLECTOR_OTLP_HTTP`.
    pub(crate) fn setting(&self, name: &str) -> Result<&str> {
        self.settings
            .get(name)
            .map(String::as_str)
            .with_context(|| format!("the server printed no {name}"))
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        // If this fails, the guard of the script stops the server at the end of this process.
        let _ = Command::new(script("stop")).arg(self.dir.path()).status();
    }
}

/// The address of the Elasticsearch that the tests may fill.
pub(crate) fn elasticsearch() -> Result<String> {
    std::env::var("THROUGHLINE_TEST_ELASTICSEARCH_URL")
        .context("THROUGHLINE_TEST_ELASTICSEARCH_URL is not set")
}

/// Runs a script of `deploy/collector`.
pub(crate) fn deploy_script(name: &str, argument: &str) -> Result<()> {
    let output = Command::new("sh")
        .arg(root().join("deploy/collector").join(name))
        .arg(argument)
        .output()?;
    if !output.status.success() {
        bail!(
            "{name} fails: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn script(name: &str) -> PathBuf {
    root().join(".ci/components").join(name)
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Lines of a file that a server writes, as far as they are whole.
pub(crate) fn lines(folder: &TempDir, file: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.path().join(file)).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}
