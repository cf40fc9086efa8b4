//! One process of the system: started, listened to, waited for, and never outliving its test.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{DEADLINE, PROGRAM, eventually, signal};

/// One process of the system. It is killed when the test ends, passed or failed.
pub(crate) struct Process {
    child: Child,
    /// The child stops when this pipe closes; it is held, not used.
    _lifeline: Option<ChildStdin>,
    lines: Arc<Lines>,
}

#[derive(Default)]
struct Lines {
    heard: Mutex<Heard>,
    more: Condvar,
}

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    /// Streams that have ended.
    ended: usize,
}

impl Process {
    /// Starts the program with `args`; of the variables of this process only those that are named here reach it.
    pub(crate) fn start(args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(PROGRAM);
        for (variable, _) in std::env::vars().filter(|(name, _)| {
            name.starts_with("OTEL_") || name.starts_with("THROUGHLINE_") || name == "RUST_LOG"
        }) {
            command.env_remove(variable);
        }
        command.args(args).envs(env.iter().copied());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = Arc::new(Lines::default());
        let lifeline = child.stdin.take();
        listen(
            child.stdout.take().context("stdout is piped")?,
            Arc::clone(&lines),
        );
        listen(
            child.stderr.take().context("stderr is piped")?,
            Arc::clone(&lines),
        );
        Ok(Self {
            child,
            _lifeline: lifeline,
            lines,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first line that `wanted` takes, waiting for it.
    pub(crate) fn wait_line<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.wait_line_within(DEADLINE, what, wanted)
    }

    /// The same for what may take longer.
    pub(crate) fn wait_line_within<T>(
        &self,
        patience: Duration,
        what: &str,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + patience;
        let mut heard = self.lines.heard.lock().expect("no listener panics");
        loop {
            if let Some(found) = heard.lines.iter().find_map(|line| wanted(line)) {
                return Ok(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || heard.ended == 2 {
                bail!("no line with {what}; heard:\n{}", heard.lines.join("\n"));
            }
            heard = self
                .lines
                .more
                .wait_timeout(heard, left)
                .expect("no listener panics")
                .0;
        }
    }

    /// The `url` of the log event `event`.
    pub(crate) fn url(&self, event: &str) -> Result<String> {
        self.wait_line(event, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["event.name"] == event)
                .then(|| line["url"].as_str().map(str::to_owned))
                .flatten()
        })
    }

    /// Everything said so far.
    pub(crate) fn output(&self) -> String {
        self.lines
            .heard
            .lock()
            .expect("no listener panics")
            .lines
            .join("\n")
    }

    /// Waits for the end, and until everything that was said is heard.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        let child = &mut self.child;
        let status = eventually("the process ends", || Ok(child.try_wait()?))
            .with_context(|| self.output())?;
        let heard = self.lines.heard.lock().expect("no listener panics");
        let deaf = self
            .lines
            .more
            .wait_timeout_while(heard, DEADLINE, |heard| heard.ended < 2);
        if deaf.expect("no listener panics").1.timed_out() {
            bail!("somebody holds the output of a process that has ended");
        }
        Ok(status)
    }

    /// SIGINT, as Ctrl-C sends it.
    pub(crate) fn interrupt(&self) -> Result<()> {
        signal("INT", self.pid())
    }

    /// SIGKILL, and waits.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; either way it must not outlive the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(stream: impl std::io::Read + Send + 'static, lines: Arc<Lines>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines
                .heard
                .lock()
                .expect("no listener panics")
                .lines
                .push(line);
            lines.more.notify_all();
        }
        lines.heard.lock().expect("no listener panics").ended += 1;
        lines.more.notify_all();
    });
}
