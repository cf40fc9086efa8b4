//! One part of the system as a child process: started, listened to, stopped, and mourned with its last words.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

use crate::screen;

/// How long a part may take to say where it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How many of its last lines are shown when it dies.
const LAST_WORDS: usize = 12;

/// How to start a part.
#[derive(Debug)]
pub(crate) struct Spec {
    /// The name that people know it by.
    pub(crate) name: &'static str,
    /// The program; `None` is this one.
    pub(crate) program: Option<PathBuf>,
    /// What it is told: for this program a subcommand and its options.
    pub(crate) args: Vec<String>,
    /// Variables that it gets beside the ones of this process.
    pub(crate) env: Vec<(String, String)>,
    /// Where its whole log goes.
    pub(crate) log: PathBuf,
}

/// A running part. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Part {
    name: &'static str,
    child: Child,
    /// The child stops when this pipe closes: on purpose, or because this process died.
    lifeline: Option<ChildStdin>,
    words: Arc<Words>,
    urls: watch::Receiver<Vec<(String, String)>>,
}

impl Part {
    /// Starts the part; it does not wait for anything.
    pub(crate) fn start(spec: Spec) -> anyhow::Result<Self> {
        let program = match spec.program {
            Some(program) => program,
            None => std::env::current_exe().context("cannot find this program's own file")?,
        };
        let mut command = Command::new(program);
        command
            .args(&spec.args)
            .env_remove("OTEL_SERVICE_NAME")
            .envs(spec.env);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // A group of its own: Ctrl-C reaches this process alone, and it stops the parts in the right order.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", spec.name))?;
        let log = File::create(&spec.log)
            .with_context(|| format!("cannot write {}", spec.log.display()))?;
        let words = Arc::new(Words {
            name: spec.name,
            log: Mutex::new(log),
            last: Mutex::default(),
        });
        let (found, urls) = watch::channel(Vec::new());
        let found = Arc::new(found);
        listen(child.stdout.take(), Arc::clone(&words), Arc::clone(&found));
        listen(child.stderr.take(), Arc::clone(&words), found);
        let lifeline = child.stdin.take();
        Ok(Self {
            name: spec.name,
            child,
            lifeline,
            words,
            urls,
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The address that the part tells in the log event `event`.
    pub(crate) async fn url(&mut self, event: &str) -> anyhow::Result<String> {
        let find = |urls: &Vec<(String, String)>| {
            urls.iter()
                .find(|(name, _)| name == event)
                .map(|(_, url)| url.clone())
        };
        let mut urls = self.urls.clone();
        tokio::select! {
            found = tokio::time::timeout(START_TIMEOUT, urls.wait_for(|urls| find(urls).is_some())) => {
                if let Ok(Ok(urls)) = found && let Some(url) = find(&urls) {
                    return Ok(url);
                }
                bail!("{} did not say where it listens{}", self.name, self.words.last());
            }
            status = self.child.wait() => bail!("{} stopped before it listened ({}){}", self.name, status?, self.words.last()),
        }
    }

    /// Waits for a part that does its work and ends.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        match self.child.wait().await? {
            status if status.success() => Ok(()),
            status => bail!("{} failed ({status}){}", self.name, self.words.last()),
        }
    }

    /// Completes when the part dies, with what is to be told of it.
    pub(crate) async fn died(&mut self) -> String {
        let status = self.child.wait().await;
        format!(
            "{} died ({}){}",
            self.name,
            status.map_or_else(|error| error.to_string(), |status| status.to_string()),
            self.words.last()
        )
    }

    /// Asks the part to drain and waits; after `patience` it is killed. True when it ended well and by itself.
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

/// What a part has said.
#[derive(Debug)]
struct Words {
    name: &'static str,
    log: Mutex<File>,
    last: Mutex<VecDeque<String>>,
}

impl Words {
    fn hear(&self, line: &str, found: &watch::Sender<Vec<(String, String)>>) {
        // The log file is a convenience; a full disk must not stop the system.
        let _ = writeln!(
            self.log.lock().unwrap_or_else(PoisonError::into_inner),
            "{line}"
        );
        let event: Value = serde_json::from_str(line).unwrap_or(Value::Null);
        let text = |key: &str| event[key].as_str();
        if let (Some(name), Some(url)) = (text("event.name"), text("url")) {
            found.send_modify(|urls| urls.push((name.to_owned(), url.to_owned())));
        }
        let plain = readable(&event).unwrap_or_else(|| line.to_owned());
        match text("level") {
            Some("WARN" | "ERROR") => {
                screen::warn(format!(
                    "{} {plain}",
                    screen::paint("33", &format!("{:<14}", self.name))
                ));
            }
            // What is not a log line is said to people: progress, results, and the last words of a panic.
            None if !plain.is_empty() => {
                screen::say(format!(
                    "{} {plain}",
                    screen::paint("90", &format!("{:<14}", self.name))
                ));
            }
            _ => {}
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == LAST_WORDS {
            last.pop_front();
        }
        last.push_back(plain);
    }

    fn last(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_empty() {
            return String::new();
        }
        format!(
            "; its last lines:\n    {}",
            last.iter().cloned().collect::<Vec<_>>().join("\n    ")
        )
    }
}

/// A JSON log line as a person would read it.
fn readable(event: &Value) -> Option<String> {
    Some(format!(
        "{} {}",
        event["level"].as_str()?,
        event["message"].as_str()?
    ))
}

fn listen(
    stream: Option<impl AsyncRead + Send + Unpin + 'static>,
    words: Arc<Words>,
    found: Arc<watch::Sender<Vec<(String, String)>>>,
) {
    let Some(stream) = stream else { return };
    telemetry::task::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            words.hear(&line, &found);
        }
    });
}
