//! The end of telemetry: the last export of each signal within a deadline, and what was lost.

use std::convert::Infallible;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::providers::Providers;

/// Telemetry of a running process. What is still queued is exported by [`Guard::shutdown`].
#[must_use = "telemetry that is not shut down loses its last seconds"]
#[derive(Debug)]
pub struct Guard {
    providers: Option<Providers>,
}

/// Items that never reached the collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Spans that ended and were not exported.
    pub spans: u64,
    /// Log records that were not exported.
    pub logs: u64,
    /// True when the last flush did not end within its deadline.
    pub unfinished: bool,
}

/// How long a guard that is dropped, after a panic for example, waits for the last telemetry.
const DROP_DEADLINE: Duration = Duration::from_secs(2);

impl Guard {
    pub(crate) fn new(providers: Option<Providers>) -> Self {
        Self { providers }
    }

    /// Flushes all three signals and gives up after `deadline`: a dead collector delays the exit by
    /// no more than that.
    pub fn shutdown(mut self, deadline: Duration) -> Lost {
        match self.providers.take() {
            Some(providers) => flush(&providers, deadline),
            None => Lost::default(),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(providers) = self.providers.take() {
            flush(&providers, DROP_DEADLINE);
        }
    }
}

fn flush(providers: &Providers, deadline: Duration) -> Lost {
    let lost = Lost {
        unfinished: !shut_down(providers, deadline),
        spans: providers.counts.spans.lost(),
        logs: providers.counts.logs.lost(),
    };
    if lost != Lost::default() {
        log(lost);
    }
    lost
}

/// Shuts the three providers down; false when that did not end within `deadline`.
///
/// Their own results are not used: in `opentelemetry_sdk` 0.33.1 the tracer provider answers `Ok`
/// although the last export failed (no issue was found upstream).
fn shut_down(providers: &Providers, deadline: Duration) -> bool {
    let end = Instant::now() + deadline;
    let (tracer, logger) = (providers.tracer.clone(), providers.logger.clone());
    let spans_and_logs = Threads::start(vec![
        Box::new(move || drop(tracer.shutdown_with_timeout(deadline))),
        Box::new(move || drop(logger.shutdown_with_timeout(deadline))),
    ]);
    // Metrics are exported last, since they count what became of spans and log records. Half of the
    // time is theirs.
    let early = spans_and_logs.ended_by(Instant::now() + deadline / 2);
    let meter = providers.meter.clone();
    let metrics = Threads::start(vec![Box::new(move || {
        drop(meter.shutdown_with_timeout(deadline));
    })]);
    metrics.ended_by(end) && (early || spans_and_logs.ended_by(end))
}

fn log(lost: Lost) {
    tracing::warn!(
        name: "telemetry.lost",
        spans = lost.spans,
        logs = lost.logs,
        unfinished = lost.unfinished,
        "telemetry was lost: {} spans, {} log records{}",
        lost.spans,
        lost.logs,
        if lost.unfinished { ", and the last flush did not end in time" } else { "" }
    );
}

/// Threads that hold the other end of a channel until they end. They may outlive the deadline, and
/// then end with the process.
struct Threads {
    ended: mpsc::Receiver<Infallible>,
}

impl Threads {
    fn start(works: Vec<Box<dyn FnOnce() + Send>>) -> Self {
        let (alive, ended) = mpsc::channel();
        for work in works {
            let alive = alive.clone();
            std::thread::spawn(move || {
                work();
                drop(alive);
            });
        }
        Self { ended }
    }

    fn ended_by(&self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        self.ended.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}
