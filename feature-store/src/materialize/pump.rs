//! Writes the batches of a file to the backend, as many at a time as it can execute.
//!
//! Two batches with rows of one entity are never in flight together: of rows with equal times the
//! later in the file must win.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::future::Future;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use telemetry::task;
use tokio::sync::mpsc;

use super::mark::Mark;
use super::progress::Progress;
use super::rows::{Batch, Place, RowReader};
use super::{MaterializeError, MaterializeReport};
use crate::backend::{BackendError, EntityKey, FeatureBackend, Written};
use crate::time::EventTime;
use crate::views::FeatureView;

/// Writes the rows of a file.
pub(super) struct Pump {
    pub(super) backend: Arc<dyn FeatureBackend>,
    pub(super) view: Arc<FeatureView>,
    pub(super) concurrency: usize,
    /// The name of the mark, if there is one.
    pub(super) mark_name: Option<String>,
    pub(super) event_time: EventTime,
    /// The file of all refused rows.
    pub(super) refused: Option<(PathBuf, File)>,
    pub(super) progress: Progress,
    /// How long the store may be down in the middle of a run.
    pub(super) patience: Duration,
}

/// How the run ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// At the end of the file.
    Whole(MaterializeReport),
    /// Before it. Every row before `line` is stored or refused.
    Interrupted {
        /// The rows so far.
        report: MaterializeReport,
        /// Where to continue.
        line: u64,
    },
}

/// A stored batch.
struct StoredBatch {
    batch: Batch,
    keys: Vec<EntityKey>,
    written: Written,
}

/// The state of a run: every batch before `place` is stored.
struct RunState {
    report: MaterializeReport,
    place: Place,
    /// The entities of the batches in flight.
    in_flight: HashSet<EntityKey>,
    saved: Instant,
}

/// Batches to read ahead.
const AHEAD: usize = 2;

/// How often the mark is stored.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// How long the store may be down in the middle of a run: a restart, a fail-over.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

impl Pump {
    /// Writes all rows. When `stop` resolves, the batches in flight end and the mark stays for the
    /// next run.
    pub(super) async fn run(
        mut self,
        rows: RowReader,
        mark: Mark,
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, MaterializeError> {
        let written = Written {
            written: mark.written,
            outdated: mark.outdated,
        };
        let mut state = RunState {
            report: MaterializeReport {
                rows: written,
                refused: mark.refused,
                refusals: Vec::new(),
            },
            place: Place {
                offset: mark.offset,
                line: mark.line.max(1),
                digest: Some(mark.digest),
            },
            in_flight: HashSet::new(),
            saved: Instant::now(),
        };
        let outcome = self.pump(&mut state, read(rows), stop).await;
        self.progress.end();
        match outcome {
            Ok(true) if state.report.is_empty() => Err(MaterializeError::Empty),
            Ok(true) => {
                if let Some(name) = &self.mark_name {
                    self.backend.set_mark(name, None).await?;
                }
                Ok(Ended::Whole(state.report))
            }
            Ok(false) => {
                self.save(&mut state).await?;
                Ok(Ended::Interrupted {
                    report: state.report,
                    line: state.place.line,
                })
            }
            Err(error) => {
                // If the store is down the mark cannot be stored either, and the last one counts.
                let _ = self.save(&mut state).await;
                Err(error)
            }
        }
    }

    /// Returns whether the end of the file was reached.
    async fn pump(
        &mut self,
        state: &mut RunState,
        mut batches: mpsc::Receiver<Result<Batch, MaterializeError>>,
        stop: impl Future<Output = ()>,
    ) -> Result<bool, MaterializeError> {
        let mut stop = std::pin::pin!(stop);
        let mut stopped = false;
        let mut writes = FuturesOrdered::new();
        let mut waiting: VecDeque<Batch> = VecDeque::new();
        let mut end = None;
        loop {
            while let Some(batch) = waiting.pop_front_if(|batch| {
                writes.len() < self.concurrency
                    && !batch
                        .rows
                        .iter()
                        .any(|(key, _)| state.in_flight.contains(key))
            }) {
                state
                    .in_flight
                    .extend(batch.rows.iter().map(|(key, _)| key.clone()));
                writes.push_back(self.store(batch));
            }
            let more =
                end.is_none() && !stopped && waiting.is_empty() && writes.len() < self.concurrency;
            if writes.is_empty() && waiting.is_empty() && !more {
                return match end {
                    Some(Err(error)) => Err(error),
                    Some(Ok(())) => Ok(true),
                    None => Ok(false),
                };
            }
            tokio::select! {
                () = &mut stop, if !stopped => {
                    stopped = true;
                    waiting.clear();
                }
                Some(stored) = writes.next(), if !writes.is_empty() => self.record(state, stored?).await?,
                batch = batches.recv(), if more => match batch {
                    Some(Ok(batch)) => waiting.push_back(batch),
                    Some(Err(error)) => end = Some(Err(error)),
                    None => end = Some(Ok(())),
                },
            }
        }
    }

    /// Writes one batch as a task of its own, and retries while the store is down.
    fn store(
        &self,
        batch: Batch,
    ) -> impl Future<Output = Result<StoredBatch, MaterializeError>> + use<> {
        let (backend, view, patience) = (
            Arc::clone(&self.backend),
            Arc::clone(&self.view),
            self.patience,
        );
        let work = task::spawn(async move {
            let keys: Vec<EntityKey> = batch.rows.iter().map(|(key, _)| key.clone()).collect();
            let deadline = Instant::now() + patience;
            let mut pause = Duration::from_millis(50);
            loop {
                match backend.write(&view, batch.rows.clone()).await {
                    Ok(written) => {
                        return Ok(StoredBatch {
                            batch,
                            keys,
                            written,
                        });
                    }
                    Err(error) if error.transient && Instant::now() < deadline => {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(Duration::from_secs(2));
                    }
                    Err(error) => return Err(MaterializeError::from(error)),
                }
            }
        });
        async move { work.await.unwrap_or_else(|error| Err(ended(error).into())) }
    }

    async fn record(
        &mut self,
        state: &mut RunState,
        stored: StoredBatch,
    ) -> Result<(), MaterializeError> {
        for key in &stored.keys {
            state.in_flight.remove(key);
        }
        state.report.rows.written += stored.written.written;
        state.report.rows.outdated += stored.written.outdated;
        for refused in stored.batch.refused {
            if let Some((path, file)) = &mut self.refused {
                let line = serde_json::to_string(&refused).unwrap_or_default();
                writeln!(file, "{line}").map_err(|source| MaterializeError::Refused {
                    path: path.clone(),
                    source,
                })?;
            }
            state.report.refuse(refused);
        }
        state.place = stored.batch.place;
        let rows = state.report.rows.written + state.report.rows.outdated + state.report.refused;
        self.progress.update(rows, state.place.offset);
        if state.saved.elapsed() >= SAVE_INTERVAL {
            self.save(state).await?;
        }
        Ok(())
    }

    /// Stores the mark.
    async fn save(&self, state: &mut RunState) -> Result<(), BackendError> {
        state.saved = Instant::now();
        let (Some(name), Some(digest)) = (&self.mark_name, &state.place.digest) else {
            return Ok(());
        };
        if state.place.offset == 0 {
            return Ok(());
        }
        let mark = Mark {
            offset: state.place.offset,
            line: state.place.line,
            digest: digest.clone(),
            event_time: self.event_time.micros(),
            written: state.report.rows.written,
            outdated: state.report.rows.outdated,
            refused: state.report.refused,
        };
        let text = serde_json::to_string(&mark).unwrap_or_default();
        match self.backend.set_mark(name, Some(text)).await {
            // If the store stays down, the rows return the error.
            Err(error) if error.transient => {
                self.progress
                    .note("the store does not answer; trying again");
                Ok(())
            }
            saved => saved,
        }
    }
}

/// Reads on a thread of its own, a few batches ahead of the backend.
fn read(mut rows: RowReader) -> mpsc::Receiver<Result<Batch, MaterializeError>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        while let Some(batch) = rows.batch().transpose() {
            let failed = batch.is_err();
            if sender.blocking_send(batch).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

/// Resolves with the first SIGINT or SIGTERM; a later one ends the process at once.
pub(super) async fn signalled() {
    one_signal().await;
    task::spawn(async {
        // Some parents forward a signal that the whole process group has received already.
        tokio::time::sleep(Duration::from_millis(500)).await;
        one_signal().await;
        std::process::exit(i32::from(super::INTERRUPTED));
    });
}

async fn one_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let signals =
        signal(SignalKind::interrupt()).and_then(|int| Ok((int, signal(SignalKind::terminate())?)));
    // Without a handler the signal ends the process, as by default.
    let Ok((mut interrupt, mut terminate)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
}

fn ended(error: tokio::task::JoinError) -> BackendError {
    let source = Box::new(error);
    BackendError {
        action: "write features",
        error_type: "task_ended",
        transient: false,
        status_code: None,
        source,
    }
}
