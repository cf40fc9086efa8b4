//! Real Redis servers for one test, by the commands of `.ci/components`. They end with the test,
//! passed or failed.

use std::path::{Path, PathBuf};
use std::process::Command;

use parking_lot::Mutex;

/// One server. Its data outlives a restart only if the options say so.
pub(crate) struct RedisServer {
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    group: Mutex<String>,
    options: Vec<String>,
}

impl RedisServer {
    /// A server with these options of redis-server.
    pub(crate) fn start(options: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("throughline-redis-")
            .tempdir()
            .expect("a temporary folder");
        Self::start_in(folder, options)
    }

    /// The same in a folder that is not empty.
    pub(crate) fn start_in(folder: tempfile::TempDir, options: &[&str]) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut server = Self {
            folder,
            port: 0,
            group: Mutex::default(),
            options,
        };
        server.port = server.start_again();
        server
    }

    /// Starts it, again at the same address, and returns its port.
    pub(crate) fn start_again(&self) -> u16 {
        let mut command = Command::new(components().join("start"));
        command
            .arg("redis")
            .arg(self.folder.path())
            .args(&self.options);
        command.env(
            "THROUGHLINE_COMPONENTS_OWNER",
            std::process::id().to_string(),
        );
        let said = text(&mut command);
        let value = |name: &str| {
            said.lines()
                .find_map(|line| line.strip_prefix(name))
                .expect("start prints it")
        };
        value("REDIS_PID=").clone_into(&mut self.group.lock());
        value("REDIS_PORT=").parse().expect("a port")
    }

    /// Stops it as a power cut would, and waits for its end.
    pub(crate) fn kill(&self) {
        self.signal("KILL");
        text(Command::new(components().join("stop")).arg(self.folder.path()));
    }

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: &str) {
        let group = self.group.lock().clone();
        text(Command::new("kill").args(["-s", signal, "--", &format!("-{group}")]));
    }

    /// The output of `redis-cli` for a command.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        text(
            Command::new("redis-cli")
                .args(["--no-auth-warning", "-p", &self.port.to_string()])
                .args(arguments),
        )
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // A failed test leaves no server behind, not even a frozen one.
        let _ = Command::new(components().join("stop"))
            .arg(self.folder.path())
            .status();
    }
}

/// The standard output of a command that must succeed.
pub(crate) fn text(command: &mut Command) -> String {
    let output = command
        .output()
        .expect("the command is installed: .ci/components/get redis");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {errors}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn components() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/components")
}
