//! One rank as a process: its start, its lines, its end.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;

use anyhow::Context;
use serde::Deserialize;
use telemetry::{Span, carrier};

use crate::python::{self, PythonEnvironment};
use crate::up::remove_foreign;

/// `service.name` of trainings.
const SERVICE: &str = "model-training";
const MODULE: &str = "throughline_worker.ranks";
/// What this process was started with is not what its ranks are started with.
const CARRIER: [&str; 3] = ["TRACEPARENT", "TRACESTATE", "BAGGAGE"];

/// What a rank says.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Epoch(EpochLine),
    /// Comes every second, also from a rank that waits for others.
    Alive {
        /// All-reduces that the rank has begun.
        step: u64,
    },
}

/// The end of an epoch; loss, gradient and accuracy are of all ranks together.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct EpochLine {
    pub(super) epoch: usize,
    pub(super) loss: f64,
    pub(super) gradient_norm: f64,
    pub(super) accuracy: f64,
    pub(super) rows_per_second: f64,
    pub(super) compute_seconds: f64,
    pub(super) all_reduce_seconds: f64,
}

/// What happened to a rank.
#[derive(Debug)]
pub(super) enum Event {
    Said(Line),
    /// A line of its log, or of a library.
    Noise(String),
    /// Its standard output has ended.
    Closed,
}

/// An event with the number of its rank.
pub(super) type Events = Sender<(usize, Event)>;

/// How to start a rank.
pub(super) struct RankSpec<'a> {
    pub(super) environment: &'a PythonEnvironment,
    pub(super) plan: &'a Path,
    pub(super) rank: usize,
    pub(super) ranks: usize,
    pub(super) coordinator: &'a str,
    pub(super) bind: Option<&'a str>,
    pub(super) slow_ms: u64,
    /// The parent of its spans; without it the rank asks number 0.
    pub(super) span: Option<&'a Span>,
}

/// A running rank. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct RankProcess {
    child: Child,
    /// The rank ends when this pipe closes, also because this process died.
    _lifeline: Option<ChildStdin>,
}

impl RankProcess {
    /// Starts the rank, whose events go to `events` with its number.
    pub(super) fn start(spec: &RankSpec<'_>, events: &Events) -> anyhow::Result<Self> {
        let mut command = command(spec)?;
        let program = command.get_program().display().to_string();
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let (rank, output, errors) = (spec.rank, events.clone(), events.clone());
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                read(stdout, |line| {
                    let said = serde_json::from_str(&line);
                    let event = said.map_or_else(|_| Event::Noise(line), Event::Said);
                    let _ = output.send((rank, event));
                });
                let _ = output.send((rank, Event::Closed));
            });
        }
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || {
                read(stderr, |line| {
                    let _ = errors.send((rank, Event::Noise(line)));
                });
            });
        }
        Ok(Self {
            _lifeline: child.stdin.take(),
            child,
        })
    }

    /// Waits for the end, which is near since the output has ended.
    pub(super) fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn kill(&mut self) {
        // It may have ended meanwhile.
        let _ = self.child.kill();
    }
}

impl Drop for RankProcess {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

fn read(stream: impl Read, mut on_line: impl FnMut(String)) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while stream
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        on_line(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
}

fn command(spec: &RankSpec<'_>) -> anyhow::Result<Command> {
    let (program, mut args) = spec.environment.instrumented(MODULE);
    args.extend(["--plan".to_owned(), spec.plan.display().to_string()]);
    for (option, value) in [("--rank", spec.rank), ("--ranks", spec.ranks)] {
        args.extend([option.to_owned(), value.to_string()]);
    }
    args.extend(["--coordinator".to_owned(), spec.coordinator.to_owned()]);
    if let Some(bind) = spec.bind {
        args.extend(["--bind".to_owned(), bind.to_owned()]);
    }
    args.extend(["--slow".to_owned(), spec.slow_ms.to_string()]);
    args.push("--exit-with-parent".to_owned());
    let mut command = Command::new(program);
    remove_foreign(&mut command, SERVICE);
    command
        .args(args)
        .envs(python::instrumentation(SERVICE)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Python imports from the working directory first.
        .current_dir(spec.environment.root());
    for variable in CARRIER {
        command.env_remove(variable);
    }
    if let Some(span) = spec.span {
        command.envs(carrier::to_environment(&span.context()));
    }
    Ok(command)
}
