//! Processes of pages: groups that can be signalled, and the certainty that none is left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};

/// The variable that every process of a page inherits; its value is the page's.
pub(crate) const MARK: &str = "DOCS_RUNNER_SESSION";

/// The marks of the pages that are running, and whether a signal is ending this program.
static RUNNING: Mutex<(Vec<String>, bool)> = Mutex::new((Vec::new(), false));

/// The processes of one page. They are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Processes {
    mark: String,
}

impl Processes {
    /// `name` tells the page from others of this run.
    pub(crate) fn new(name: &str) -> Self {
        let mark = format!("{}-{name}", std::process::id());
        RUNNING.lock().0.push(mark.clone());
        Self { mark }
    }

    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// What is still there after a while: the command line of each.
    pub(crate) fn left(&self, patience: Duration) -> Vec<String> {
        let gone = wait_until(patience, || marked(&self.mark).is_empty());
        if gone {
            return Vec::new();
        }
        let left = marked(&self.mark);
        left.iter().map(|pid| described(*pid)).collect()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        kill_marked(&self.mark);
        RUNNING.lock().0.retain(|mark| *mark != self.mark);
    }
}

/// A process group of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group(Pid);

impl Group {
    pub(crate) fn new(leader: i32) -> Result<Self> {
        Ok(Self(
            Pid::from_raw(leader).context("0 is no process group")?,
        ))
    }

    pub(crate) fn lives(self) -> bool {
        rustix::process::test_kill_process_group(self.0).is_ok()
    }

    /// Sends a signal and waits until all of it has ended; kills what has not by then, and says so with `false`.
    pub(crate) fn end(self, signal: Signal, patience: Duration) -> bool {
        // It may have ended already.
        let _ = rustix::process::kill_process_group(self.0, signal);
        let ended = wait_until(patience, || !self.lives());
        if !ended {
            let _ = rustix::process::kill_process_group(self.0, Signal::KILL);
        }
        ended
    }

    pub(crate) fn kill(self) {
        let _ = rustix::process::kill_process_group(self.0, Signal::KILL);
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP end every page's processes and then this program.
pub(crate) fn end_with_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate, mut hang_up) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    std::thread::spawn(move || {
        let code = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
                _ = hang_up.recv() => 129,
            }
        });
        let marks = {
            let mut running = RUNNING.lock();
            running.1 = true;
            running.0.clone()
        };
        for mark in marks {
            kill_marked(&mark);
        }
        crate::checkout::remove_folder();
        std::process::exit(code)
    });
    Ok(())
}

/// Whether a signal is ending this program.
pub(crate) fn ending() -> bool {
    RUNNING.lock().1
}

/// Waits for a condition that no event announces.
pub(crate) fn wait_until(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Kills until none is left: a process may start another between a look and its end.
fn kill_marked(mark: &str) {
    wait_until(Duration::from_secs(10), || {
        let left = marked(mark);
        for pid in &left {
            let _ = rustix::process::kill_process(*pid, Signal::KILL);
        }
        left.is_empty()
    });
}

/// The processes that inherited this mark, whatever group or session they are in.
fn marked(mark: &str) -> Vec<Pid> {
    let wanted = format!("{MARK}={mark}");
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found = Vec::new();
    for folder in folders {
        let Some(pid) = folder
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // A process that has just ended, or is somebody else's, cannot be read. That of a zombie is empty.
        let environment = std::fs::read(folder.path().join("environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        if variables.any(|variable| variable == wanted.as_bytes()) {
            found.extend(Pid::from_raw(pid));
        }
    }
    found
}

fn described(pid: Pid) -> String {
    let pid = pid.as_raw_nonzero();
    let path = Path::new("/proc").join(pid.to_string()).join("cmdline");
    let line = std::fs::read(path).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    format!("{pid}: {}", line.trim())
}
