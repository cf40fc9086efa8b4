//! One process of the system: started, read, waited for, and never outliving its test.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use parking_lot::{Condvar, Mutex};
use serde_json::Value;

use crate::wait::{DEADLINE, eventually_within};

/// Variables of ours start so; a test's process gets only those that the test names.
const OUR_VARIABLES: [&str; 8] = [
    "EXPLORER_",
    "FEATURE_STORE_",
    "GATEWAY_",
    "MODEL_SERVICE_",
    "OTEL_",
    "REDIS_",
    "RUST_LOG",
    "THROUGHLINE_",
];

/// One process. It is killed when this is dropped, so that a failed test leaves nothing behind.
pub struct Process {
    child: Child,
    /// With `--exit-with-parent` the process stops when this pipe closes.
    lifeline: Option<ChildStdin>,
    output: Arc<Output>,
}

/// How a process ended, and everything that it wrote.
#[derive(Debug)]
pub struct Exit {
    /// `None` after a signal.
    pub code: Option<i32>,
    /// Lines of standard output and standard error in the order of their arrival.
    pub lines: Vec<String>,
}

#[derive(Default)]
struct Output {
    received: Mutex<Received>,
    changed: Condvar,
}

#[derive(Default)]
struct Received {
    lines: Vec<String>,
    /// How many of the two streams have ended.
    ended: usize,
}

/// A command without the variables of ours that this process happens to have.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        if OUR_VARIABLES.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// Sends a signal to a process by the signal's name, such as `TERM`.
pub fn signal(name: &str, pid: u32) -> Result<()> {
    let status = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status()?;
    if !status.success() {
        bail!("cannot send SIG{name} to {pid}");
    }
    Ok(())
}

impl Process {
    /// Starts a program with these arguments and variables.
    pub fn start(
        program: impl AsRef<OsStr>,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let mut child = command(program)
            .args(args)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = Arc::new(Output::default());
        let lifeline = child.stdin.take();
        read(child.stdout.take(), &output);
        read(child.stderr.take(), &output);
        Ok(Self {
            child,
            lifeline,
            output,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that `wanted` accepts, and returns what it made of the first one.
    pub fn wait_line<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.wait_line_within(DEADLINE, what, wanted)
    }

    /// The same with another deadline.
    pub fn wait_line_within<T>(
        &self,
        deadline: Duration,
        what: &str,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + deadline;
        let mut received = self.output.received.lock();
        loop {
            if let Some(found) = received.lines.iter().find_map(|line| wanted(line)) {
                return Ok(found);
            }
            if received.ended == 2 || Instant::now() >= end {
                bail!("no line with {what} in:\n{}", received.lines.join("\n"));
            }
            self.output.changed.wait_until(&mut received, end);
        }
    }

    /// Waits for the log event `name`, and returns its line.
    pub fn wait_event(&self, name: &str) -> Result<Value> {
        self.wait_line(name, |line| event(line, name))
    }

    /// The `url` of the log event `name`.
    pub fn url(&self, name: &str) -> Result<String> {
        let line = self.wait_event(name)?;
        Ok(line["url"]
            .as_str()
            .context("the event has a url")?
            .to_owned())
    }

    /// Everything written so far.
    pub fn output(&self) -> String {
        self.output.received.lock().lines.join("\n")
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) -> Result<()> {
        signal(name, self.pid())
    }

    /// Closes the lifeline.
    pub fn cut_lifeline(&mut self) {
        self.lifeline = None;
    }

    /// Stops the process as the end of its parent does, and waits.
    pub fn stop(&mut self) -> Result<Exit> {
        self.cut_lifeline();
        self.wait()
    }

    /// Waits for the end of the process and of its output.
    pub fn wait(&mut self) -> Result<Exit> {
        self.wait_within(DEADLINE)
    }

    /// The same with another deadline, for a command that itself waits for long.
    pub fn wait_within(&mut self, deadline: Duration) -> Result<Exit> {
        let child = &mut self.child;
        let status = eventually_within(deadline, "the process ends", || Ok(child.try_wait()?))
            .with_context(|| self.output())?;
        let mut received = self.output.received.lock();
        let wait = self.output.changed.wait_while_for(
            &mut received,
            |received| received.ended < 2,
            DEADLINE,
        );
        if wait.timed_out() {
            bail!("another process holds the output of one that has ended");
        }
        Ok(Exit {
            code: status.code(),
            lines: received.lines.clone(),
        })
    }

    /// SIGKILL, and waits.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Exit {
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// All log lines of the event `name`.
    pub fn events(&self, name: &str) -> Vec<Value> {
        self.lines
            .iter()
            .filter_map(|line| event(line, name))
            .collect()
    }

    /// All lines as one text.
    pub fn output(&self) -> String {
        self.lines.join("\n")
    }
}

fn event(line: &str, name: &str) -> Option<Value> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["event.name"] == name).then_some(line)
}

/// Reads a stream to its end, since a process whose pipe is full waits for its reader.
fn read(stream: Option<impl Read + Send + 'static>, output: &Arc<Output>) {
    let (stream, output) = (stream.expect("the stream is piped"), Arc::clone(output));
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            output.received.lock().lines.push(line);
            output.changed.notify_all();
        }
        output.received.lock().ended += 1;
        output.changed.notify_all();
    });
}
