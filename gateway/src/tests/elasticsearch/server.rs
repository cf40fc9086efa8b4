//! A real server for one test, started by `.ci/components`. It ends with the test, however that
//! ends.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) struct Server {
    folder: tempfile::TempDir,
    pub(super) url: String,
    group: String,
}

impl Server {
    pub(super) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("throughline-es-")
            .tempdir()
            .unwrap();
        Self {
            folder,
            url: String::new(),
            group: String::new(),
        }
    }

    /// Starts it, or starts it again with the same data at the same address; returns when it
    /// answers.
    pub(super) async fn start(&mut self) {
        let said = self.run("start", &["elasticsearch"]).await;
        let value = |name: &str| {
            said.lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
                .to_owned()
        };
        (self.url, self.group) = (value("ELASTICSEARCH_URL="), value("ELASTICSEARCH_PID="));
    }

    /// Shuts it down; returns when it is gone.
    pub(super) async fn stop(&mut self) {
        self.run("stop", &[]).await;
    }

    /// Stops it as a power cut would.
    pub(super) async fn kill(&mut self) {
        self.signal("KILL");
        self.stop().await;
    }

    /// Sends a signal to all its processes.
    pub(super) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args(["-s", signal, "--", &format!("-{}", self.group)])
            .status()
            .unwrap();
        assert!(sent.success(), "kill -s {signal} -{}", self.group);
    }

    async fn run(&self, command: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(components().join(command));
        command.args(arguments).arg(self.folder.path());
        command.env(
            "THROUGHLINE_COMPONENTS_OWNER",
            std::process::id().to_string(),
        );
        let output = telemetry::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failed test must not leave it running, nor frozen.
        let _ = Command::new(components().join("stop"))
            .arg(self.folder.path())
            .status();
    }
}

fn components() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/components")
}
