//! One part of the system as a child process: start, log, address, stop.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

use crate::screen;

/// How long a child may take to log its address.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How many of its last lines are printed when it dies.
const LAST_LINES: usize = 12;

/// How to start a child.
#[derive(Debug)]
pub(crate) struct ChildSpec {
    /// The name of the part, for the terminal.
    pub(crate) name: &'static str,
    /// The program; `None` is this one.
    pub(crate) program: Option<PathBuf>,
    /// For this program a subcommand and its options.
    pub(crate) args: Vec<String>,
    /// Variables in addition to those of this process.
    pub(crate) env: Vec<(String, String)>,
    /// The file for its whole log.
    pub(crate) log: PathBuf,
}

/// A running child. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    name: &'static str,
    child: Child,
    /// The child stops when this pipe closes: on purpose, or because this process died.
    lifeline: Option<ChildStdin>,
    output: Arc<ChildOutput>,
    urls: watch::Receiver<ChildUrls>,
}

/// Addresses by the name of the log event that reports them.
type ChildUrls = HashMap<String, String>;

impl ChildProcess {
    /// Starts the child without waiting for it.
    pub(crate) fn start(spec: &ChildSpec) -> anyhow::Result<Self> {
        let mut child = command(spec)?
            .spawn()
            .with_context(|| format!("cannot start {}", spec.name))?;
        let log = File::create(&spec.log)
            .with_context(|| format!("cannot write {}", spec.log.display()))?;
        let (sender, urls) = watch::channel(ChildUrls::new());
        let output = Arc::new(ChildOutput {
            name: spec.name,
            log: Mutex::new(log),
            last: Mutex::default(),
            urls: sender,
        });
        read_lines(child.stdout.take(), Arc::clone(&output));
        read_lines(child.stderr.take(), Arc::clone(&output));
        let lifeline = child.stdin.take();
        Ok(Self {
            name: spec.name,
            child,
            lifeline,
            output,
            urls,
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the log event `event` and returns the address in it.
    pub(crate) async fn url(&mut self, event: &str) -> anyhow::Result<String> {
        let logged = self.urls.wait_for(|urls| urls.contains_key(event));
        tokio::select! {
            urls = tokio::time::timeout(START_TIMEOUT, logged) => {
                if let Ok(Ok(urls)) = urls && let Some(url) = urls.get(event) {
                    return Ok(url.clone());
                }
                bail!("{} did not log its address{}", self.name, self.output.last_lines());
            }
            status = self.child.wait() => bail!(
                "{} stopped before it listened ({}){}",
                self.name,
                status?,
                self.output.last_lines()
            ),
        }
    }

    /// Waits for a child that does one job and exits.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        match self.child.wait().await? {
            status if status.success() => Ok(()),
            status => bail!(
                "{} failed ({status}){}",
                self.name,
                self.output.last_lines()
            ),
        }
    }

    /// Waits until the child dies and returns the message for the terminal.
    pub(crate) async fn died(&mut self) -> String {
        let status = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        format!("{} died ({status}){}", self.name, self.output.last_lines())
    }

    /// Asks the child to drain and waits; after `patience` it is killed. Returns true if it stopped
    /// by itself and without an error.
    pub(crate) async fn stop(mut self, patience: Duration) -> bool {
        drop(self.lifeline.take());
        if let Ok(status) = tokio::time::timeout(patience, self.child.wait()).await {
            return status.is_ok_and(|status| status.success());
        }
        screen::warn(format!("{} does not stop and is killed", self.name));
        let _ = self.child.kill().await;
        false
    }
}

fn command(spec: &ChildSpec) -> anyhow::Result<Command> {
    let program = match &spec.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("cannot find this program's own file")?,
    };
    let mut command = Command::new(program);
    command
        .args(&spec.args)
        .env_remove("OTEL_SERVICE_NAME")
        .envs(spec.env.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // A process group of its own: Ctrl-C reaches only this process, which stops the parts in the
    // right order.
    #[cfg(unix)]
    command.process_group(0);
    Ok(command)
}

/// What a child has written.
#[derive(Debug)]
struct ChildOutput {
    name: &'static str,
    log: Mutex<File>,
    last: Mutex<VecDeque<String>>,
    urls: watch::Sender<ChildUrls>,
}

impl ChildOutput {
    fn record(&self, line: &str) {
        // A full disk must not stop the system.
        let _ = writeln!(self.log.lock(), "{line}");
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        if let (Some(name), Some(url)) = (event["event.name"].as_str(), event["url"].as_str()) {
            self.urls.send_modify(|urls| {
                urls.entry(name.to_owned())
                    .or_insert_with(|| url.to_owned());
            });
        }
        let level = event["level"].as_str();
        let text = match (level, event["message"].as_str()) {
            (Some(level), Some(message)) => format!("{level} {message}"),
            _ => line.to_owned(),
        };
        let name = format!("{:<14}", self.name);
        match level {
            Some("WARN" | "ERROR") => {
                let name = screen::paint("33", &name);
                screen::warn(format!("{name} {text}"));
            }
            // Not a log line: progress, a result, or a panic.
            None if !text.is_empty() => {
                let name = screen::paint("90", &name);
                screen::say(format!("{name} {text}"));
            }
            _ => {}
        }
        let mut last = self.last.lock();
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(text);
    }

    fn last_lines(&self) -> String {
        let last = self.last.lock();
        if last.is_empty() {
            return String::new();
        }
        let lines: Vec<&str> = last.iter().map(String::as_str).collect();
        format!("; its last lines:\n    {}", lines.join("\n    "))
    }
}

fn read_lines(stream: Option<impl AsyncRead + Send + Unpin + 'static>, output: Arc<ChildOutput>) {
    let Some(stream) = stream else { return };
    telemetry::task::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            output.record(&line);
        }
    });
}
