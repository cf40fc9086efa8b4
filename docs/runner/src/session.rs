//! One bash for one page: variables, functions and the folder persist from block to block.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::info;
use crate::process::{Group, MARK, Processes};

/// Time for a stopped background block to end before it is killed, which is a failure.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a background block is looked at while nothing tells that it is ready.
const LOOK: Duration = Duration::from_millis(100);
/// What bash prints before the answer to a command of this program.
const ANSWER: &str = "docs-runner-answer";

/// The shell of a page.
pub(crate) struct Session {
    bash: Child,
    input: Option<ChildStdin>,
    answers: Receiver<Event>,
    group: Group,
    processes: Processes,
    /// Where blocks and their outputs are kept
    folder: PathBuf,
    blocks: usize,
    background: Vec<Background>,
}

/// A block that was started and left running.
#[derive(Debug)]
struct Background {
    name: String,
    group: Group,
    output: PathBuf,
    status: PathBuf,
}

/// How a block ended.
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) output: PathBuf,
}

enum Event {
    Line(String),
    Closed,
}

impl Session {
    /// Starts bash in `directory`. `folder` is for the files of this program.
    pub(crate) fn start(
        name: &str,
        directory: &Path,
        folder: &Path,
        variables: &[(String, String)],
    ) -> Result<Self> {
        let processes = Processes::new(name)?;
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc"]);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_none_or(is_ours) {
                command.env_remove(name);
            }
        }
        let mut bash = command
            .current_dir(directory)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env(MARK, processes.mark())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .spawn()
            .context("cannot start bash")?;
        let (sender, answers) = channel();
        let output = bash.stdout.take().context("the output is piped")?;
        std::thread::spawn(move || read(output, &sender));
        std::fs::create_dir_all(folder)?;
        Ok(Self {
            group: Group::new(i32::try_from(bash.id())?)?,
            input: bash.stdin.take(),
            bash,
            answers,
            processes,
            folder: folder.to_path_buf(),
            blocks: 0,
            background: Vec::new(),
        })
    }

    /// Runs a block to its end.
    pub(crate) fn run(&mut self, text: &str, deadline: Duration) -> Result<Ended> {
        let (script, output) = self.files(text)?;
        let end = Instant::now() + deadline;
        let status = self.ask(
            &format!(
                "{{ . {}; }} >{} 2>&1 </dev/null; printf '{ANSWER} %s\\n' \"$?\"",
                quoted(&script),
                quoted(&output)
            ),
            end,
        );
        match status {
            Ok(status) => Ok(Ended { status, output }),
            Err(error) => bail!("{error:#}. The block printed:\n{}", printed(&output)),
        }
    }

    /// Writes a file into the folder where the session is.
    pub(crate) fn write(&mut self, name: &str, text: &str) -> Result<()> {
        let (content, _) = self.files(text)?;
        let (name, content) = (Path::new(name), quoted(&content));
        let folder = quoted(name.parent().unwrap_or(Path::new("")));
        let copy = format!("mkdir -p ./{folder} && cp {content} {}", quoted(name));
        let ended = self.run(&copy, PATIENCE)?;
        if ended.status != 0 {
            bail!(
                "cannot write {}: {}",
                name.display(),
                printed(&ended.output)
            );
        }
        Ok(())
    }

    /// Starts a block and waits until its address answers.
    pub(crate) fn start_background(
        &mut self,
        text: &str,
        settings: &info::Background,
        deadline: Duration,
    ) -> Result<PathBuf> {
        self.stop(&settings.name, Signal::TERM)?;
        let (script, output) = self.files(text)?;
        let status = script.with_extension("status");
        let end = Instant::now() + deadline;
        // With job control the block has a process group of its own, and does not ignore SIGINT.
        let leader = self.ask(
            &format!(
                "set -m; {{ (. {}); echo $? >{}; }} >{} 2>&1 </dev/null & set +m; disown; printf '{ANSWER} %s\\n' $!",
                quoted(&script),
                quoted(&status),
                quoted(&output)
            ),
            end,
        )?;
        let background = Background {
            name: settings.name.clone(),
            group: Group::new(leader)?,
            output: output.clone(),
            status,
        };
        let ready = settings
            .until
            .as_deref()
            .map_or(Ok(()), |url| background.wait_for(url, end));
        self.background.push(background);
        // What it printed is among the logs that a failure shows.
        ready.map(|()| output)
    }

    /// Ends a background block, if there is one of this name; what it printed is in the file that is returned.
    pub(crate) fn stop(&mut self, name: &str, signal: Signal) -> Result<Option<PathBuf>> {
        let found = self.background.iter().position(|one| one.name == name);
        let Some(found) = found else {
            return Ok(None);
        };
        let background = self.background.remove(found);
        if !background.group.end(signal, PATIENCE) {
            bail!(
                "the background block `{name}` has not ended {} s after {signal:?}; it printed:\n{}",
                PATIENCE.as_secs(),
                printed(&background.output)
            );
        }
        Ok(Some(background.output))
    }

    /// The last lines of every background block that runs, for a failure.
    pub(crate) fn logs(&self) -> String {
        let mut logs = String::new();
        for background in &self.background {
            let (name, text) = (&background.name, last_lines(&background.output));
            let _ = writeln!(logs, "--- background `{name}` printed:\n{text}");
        }
        logs
    }

    /// Ends the background blocks and bash. An error says what did not end.
    pub(crate) fn finish(mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(name) = self.background.last().map(|one| one.name.clone()) {
            if let Err(error) = self.stop(&name, Signal::TERM) {
                result = Err(error);
            }
        }
        drop(self.input.take());
        let left = self.processes.left(Duration::from_secs(3));
        if !left.is_empty() && result.is_ok() {
            bail!("the page left processes behind:\n{}", left.join("\n"));
        }
        result
    }

    /// Sends bash a command, and waits for its answer.
    fn ask(&mut self, command: &str, end: Instant) -> Result<i32> {
        let input = self.input.as_mut().context("the shell has ended")?;
        writeln!(input, "{command}").context("the shell has ended")?;
        loop {
            match self.answers.recv_timeout(LOOK) {
                Ok(Event::Line(line)) => {
                    if let Some(answer) = line.strip_prefix(ANSWER) {
                        return Ok(answer.trim().parse()?);
                    }
                }
                Ok(Event::Closed) | Err(RecvTimeoutError::Disconnected) => {
                    bail!("the shell has ended")
                }
                // A process that the block left may hold the pipe open after the shell.
                Err(RecvTimeoutError::Timeout) if self.bash.try_wait()?.is_some() => {
                    bail!("the shell has ended")
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= end => {
                    self.group.kill();
                    bail!(
                        "the block has not ended before its deadline (timeout=SECONDS sets another)"
                    )
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn files(&mut self, text: &str) -> Result<(PathBuf, PathBuf)> {
        self.blocks += 1;
        let script = self.folder.join(format!("{}.sh", self.blocks));
        std::fs::write(&script, text)?;
        let output = script.with_extension("out");
        Ok((script, output))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.input.take());
        self.group.kill();
        let _ = self.bash.wait();
    }
}

impl Background {
    fn wait_for(&self, url: &str, end: Instant) -> Result<()> {
        while !answers(url) {
            if self.status.exists() || !self.group.lives() {
                bail!("it ended before {url} answered");
            }
            if Instant::now() >= end {
                bail!("{url} does not answer");
            }
            std::thread::park_timeout(LOOK);
        }
        Ok(())
    }
}

/// What a file of output holds.
pub(crate) fn printed(output: &Path) -> String {
    let bytes = std::fs::read(output).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The end of it, for a failure: services log whole stack traces.
fn last_lines(output: &Path) -> String {
    const LINES: usize = 40;
    const COLUMNS: usize = 240;
    let text = printed(output);
    let lines: Vec<&str> = text.lines().collect();
    let shortened = lines[lines.len().saturating_sub(LINES)..].iter();
    let shortened = shortened.map(|line| line.chars().take(COLUMNS).collect::<String>());
    shortened.collect::<Vec<_>>().join("\n")
}

/// Variables of the caller that a reader does not have. Where the Python environment and the components are is the
/// caller's to say.
fn is_ours(name: &str) -> bool {
    const PREFIXES: [&str; 8] = [
        "ELASTICSEARCH_",
        "EXPLORER_",
        "FEATURE_STORE_",
        "GATEWAY_",
        "MODEL_SERVICE_",
        "OTEL_",
        "REDIS_",
        "THROUGHLINE_",
    ];
    const KEPT: [&str; 2] = ["THROUGHLINE_COMPONENTS", "THROUGHLINE_PYTHON_ENVIRONMENT"];
    name == "RUST_LOG"
        || (PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !KEPT.contains(&name))
}

/// Whether an address answers with a status of success.
fn answers(url: &str) -> bool {
    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "-o",
        "/dev/null",
        "-m",
        "5",
        "-w",
        "%{http_code}",
        url,
    ]);
    let output = curl.stderr(Stdio::null()).output();
    output.is_ok_and(|output| output.stdout.starts_with(b"2"))
}

/// The body of an answer with a status of success.
pub(crate) fn get(url: &str) -> Option<Vec<u8>> {
    let mut curl = Command::new("curl");
    curl.args(["-s", "--fail", "-m", "5", url]);
    let output = curl.stderr(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

fn read(output: impl std::io::Read, events: &Sender<Event>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if events.send(Event::Line(line)).is_err() {
            return;
        }
    }
    let _ = events.send(Event::Closed);
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}
