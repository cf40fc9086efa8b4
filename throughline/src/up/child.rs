//! One part of the system as a child process: start, address, death, stop.

mod environment;
mod log_file;
mod output;

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot, watch};

use crate::screen;
pub(crate) use environment::remove_foreign;
use log_file::LogFile;
use output::{ChildOutput, ChildUrls, read_lines};

/// How long a child may take to log its address.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How long the last lines of a dead child may take to arrive.
const LAST_WORDS: Duration = Duration::from_millis(500);

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
    /// The working directory; `None` is that of this process.
    pub(crate) folder: Option<PathBuf>,
    /// The file for its whole log.
    pub(crate) log: PathBuf,
}

/// A running child. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    name: &'static str,
    pid: Option<u32>,
    /// The child stops when this pipe closes: on purpose, or because this process died.
    lifeline: Option<ChildStdin>,
    /// Dropped or sent, it kills the child.
    kill: Option<oneshot::Sender<()>>,
    exit: watch::Receiver<Option<ChildExit>>,
    output: Arc<ChildOutput>,
    urls: watch::Receiver<ChildUrls>,
}

/// How a child ended.
#[derive(Clone, Debug)]
struct ChildExit {
    success: bool,
    /// Such as `exit status: 1`.
    status: String,
}

/// The messages of parts that died, for the terminal.
pub(crate) type Deaths = mpsc::UnboundedSender<String>;

impl ChildProcess {
    /// Starts the child without waiting for it.
    pub(crate) fn start(spec: &ChildSpec) -> anyhow::Result<Self> {
        let mut child = command(spec)?
            .spawn()
            .with_context(|| format!("cannot start {}", spec.name))?;
        let log = LogFile::open(spec.log.clone())
            .with_context(|| format!("cannot write {}", spec.log.display()))?;
        let (sender, urls) = watch::channel(ChildUrls::new());
        let output = Arc::new(ChildOutput::new(spec.name, log, sender));
        let streams = [
            read_lines(child.stdout.take(), Arc::clone(&output)),
            read_lines(child.stderr.take(), Arc::clone(&output)),
        ];
        let (pid, lifeline) = (child.id(), child.stdin.take());
        let (kill, killed) = oneshot::channel();
        let (exited, exit) = watch::channel(None);
        telemetry::task::spawn(async move {
            let status = wait(child, killed).await;
            // The last lines are on their way. A grandchild may keep the streams open.
            for stream in streams.into_iter().flatten() {
                let _ = tokio::time::timeout(LAST_WORDS, stream).await;
            }
            let _ = exited.send(Some(ChildExit::of(status)));
        });
        Ok(Self {
            name: spec.name,
            pid,
            lifeline,
            kill: Some(kill),
            exit,
            output,
            urls,
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
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
            exit = exited(self.exit.clone()) => bail!(
                "{} stopped before it listened ({}){}",
                self.name,
                exit.status,
                self.output.last_lines()
            ),
        }
    }

    /// Waits for a child that does one job and exits.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        let exit = exited(self.exit.clone()).await;
        if !exit.success {
            bail!(
                "{} failed ({}){}",
                self.name,
                exit.status,
                self.output.last_lines()
            );
        }
        Ok(())
    }

    /// Reports the death of the child to `deaths`, unless it is asked to stop first.
    pub(crate) fn report_death(&self, deaths: Deaths) {
        let (name, exit, output) = (self.name, self.exit.clone(), Arc::clone(&self.output));
        telemetry::task::spawn(async move {
            let exit = exited(exit).await;
            let last_lines = output.last_lines();
            let _ = deaths.send(format!("{name} died ({}){last_lines}", exit.status));
        });
    }

    /// Asks the child to drain and waits; after `patience` it is killed. Returns true if it stopped
    /// by itself and without an error.
    pub(crate) async fn stop(mut self, patience: Duration) -> bool {
        drop(self.lifeline.take());
        if let Ok(exit) = tokio::time::timeout(patience, exited(self.exit.clone())).await {
            return exit.success;
        }
        screen::warn(format!("{} does not stop and is killed", self.name));
        drop(self.kill.take());
        exited(self.exit.clone()).await;
        false
    }
}

impl ChildExit {
    fn of(status: std::io::Result<ExitStatus>) -> ChildExit {
        match status {
            Ok(status) => ChildExit {
                success: status.success(),
                status: status.to_string(),
            },
            Err(error) => ChildExit {
                success: false,
                status: error.to_string(),
            },
        }
    }
}

/// Waits for the end of the child, or ends it when `killed` says so.
async fn wait(mut child: Child, killed: oneshot::Receiver<()>) -> std::io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status,
        _ = killed => {}
    }
    child.kill().await?;
    child.wait().await
}

async fn exited(mut exit: watch::Receiver<Option<ChildExit>>) -> ChildExit {
    match exit.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(exit)) => exit.clone(),
        // The task that waits for the child has ended without it: this process stops.
        Ok(None) | Err(_) => ChildExit {
            success: false,
            status: "its end was not seen".to_owned(),
        },
    }
}

fn command(spec: &ChildSpec) -> anyhow::Result<Command> {
    let program = match &spec.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("cannot find this program's own file")?,
    };
    let mut command = Command::new(program);
    remove_foreign(command.as_std_mut(), spec.name);
    command
        .args(&spec.args)
        .envs(spec.env.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(folder) = &spec.folder {
        command.current_dir(folder);
    }
    // A process group of its own: Ctrl-C reaches only this process, which stops the parts in the
    // right order.
    #[cfg(unix)]
    command.process_group(0);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_runs_in_its_folder_or_in_ours() {
        for folder in [None, Some(PathBuf::from("/"))] {
            let spec = ChildSpec {
                name: "model-service-python",
                program: Some(PathBuf::from("python")),
                args: Vec::new(),
                env: Vec::new(),
                folder: folder.clone(),
                log: PathBuf::new(),
            };
            let command = command(&spec).expect("a command");
            assert_eq!(command.as_std().get_current_dir(), folder.as_deref());
        }
    }
}
