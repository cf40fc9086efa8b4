//! Batches from the file to the engine, several at a time where it takes several.
//!
//! Two batches with rows of one entity are never under way together: of rows with equal times the later in the file must stay.

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
use super::rows::{Batch, Place, Rows};
use super::{MaterializeError, Report};
use crate::backend::{BackendError, EntityKey, FeatureBackend, Written};
use crate::time::EventTime;
use crate::views::FeatureView;

/// What the rows of a file go through.
pub(super) struct Pump {
    pub(super) backend: Arc<dyn FeatureBackend>,
    pub(super) view: Arc<FeatureView>,
    pub(super) concurrency: usize,
    /// Of the mark, if one is kept.
    pub(super) name: Option<String>,
    pub(super) event_time: EventTime,
    /// Where all refused rows go.
    pub(super) refused: Option<(PathBuf, File)>,
    pub(super) progress: Progress,
    /// How long the store may be away in the middle of a run.
    pub(super) patience: Duration,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With the file.
    Whole(Report),
    /// Before that. Everything before this line is stored or refused.
    Interrupted {
        /// What became of the rows so far.
        report: Report,
        /// Where to go on.
        line: u64,
    },
}

/// A batch that is stored.
struct Stored {
    batch: Batch,
    keys: Vec<EntityKey>,
    written: Written,
}

/// What is under way, and how far everything before it has come.
struct Flow {
    report: Report,
    place: Place,
    busy: HashSet<EntityKey>,
    saved: Instant,
}

/// Batches that are read ahead.
const AHEAD: usize = 2;

/// How often the mark is moved.
const SAVING: Duration = Duration::from_secs(1);

/// How long a store may be away in the middle of a run: a restart, a fail-over.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

impl Pump {
    /// Writes all rows, until `stop` comes true: then what is under way ends, and the mark is left for the next run.
    pub(super) async fn run(
        mut self,
        rows: Rows,
        mark: Mark,
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, MaterializeError> {
        let written = Written {
            written: mark.written,
            outdated: mark.outdated,
        };
        let mut flow = Flow {
            report: Report {
                rows: written,
                refused: mark.refused,
                refusals: Vec::new(),
            },
            place: Place {
                offset: mark.offset,
                line: mark.line.max(1),
                digest: Some(mark.digest),
            },
            busy: HashSet::new(),
            saved: Instant::now(),
        };
        let outcome = self.pump(&mut flow, read(rows), stop).await;
        self.progress.end();
        match outcome {
            Ok(true) => {
                if let Some(name) = &self.name {
                    self.backend.set_mark(name, None).await?;
                }
                Ok(Ended::Whole(flow.report))
            }
            Ok(false) => {
                self.save(&mut flow).await?;
                Ok(Ended::Interrupted {
                    report: flow.report,
                    line: flow.place.line,
                })
            }
            Err(error) => {
                // If the store is away, so is the mark; then the last one counts.
                let _ = self.save(&mut flow).await;
                Err(error)
            }
        }
    }

    /// Whether the file's end was reached.
    async fn pump(
        &mut self,
        flow: &mut Flow,
        mut batches: mpsc::Receiver<Result<Batch, MaterializeError>>,
        stop: impl Future<Output = ()>,
    ) -> Result<bool, MaterializeError> {
        let mut stop = std::pin::pin!(stop);
        let mut stopped = false;
        let mut under_way = FuturesOrdered::new();
        let mut waiting: VecDeque<Batch> = VecDeque::new();
        let mut end = None;
        loop {
            while let Some(batch) = waiting.pop_front_if(|batch| {
                under_way.len() < self.concurrency
                    && !batch.rows.iter().any(|(key, _)| flow.busy.contains(key))
            }) {
                flow.busy
                    .extend(batch.rows.iter().map(|(key, _)| key.clone()));
                under_way.push_back(self.store(batch));
            }
            let more = end.is_none()
                && !stopped
                && waiting.is_empty()
                && under_way.len() < self.concurrency;
            if under_way.is_empty() && waiting.is_empty() && !more {
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
                Some(stored) = under_way.next(), if !under_way.is_empty() => self.account(flow, stored?).await?,
                batch = batches.recv(), if more => match batch {
                    Some(Ok(batch)) => waiting.push_back(batch),
                    Some(Err(error)) => end = Some(Err(error)),
                    None => end = Some(Ok(())),
                },
            }
        }
    }

    /// Writes one batch as a task of its own. A store that is away for a moment is waited for.
    fn store(
        &self,
        batch: Batch,
    ) -> impl Future<Output = Result<Stored, MaterializeError>> + use<> {
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
                        return Ok(Stored {
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

    async fn account(&mut self, flow: &mut Flow, stored: Stored) -> Result<(), MaterializeError> {
        for key in &stored.keys {
            flow.busy.remove(key);
        }
        flow.report.rows.written += stored.written.written;
        flow.report.rows.outdated += stored.written.outdated;
        for refused in stored.batch.refused {
            if let Some((path, file)) = &mut self.refused {
                let failed = |source| MaterializeError::Refused {
                    path: path.clone(),
                    source,
                };
                let line = serde_json::to_string(&refused).unwrap_or_default();
                writeln!(file, "{line}").map_err(failed)?;
            }
            flow.report.refuse(refused);
        }
        flow.place = stored.batch.place;
        let rows = flow.report.rows.written + flow.report.rows.outdated + flow.report.refused;
        self.progress.tell(rows, flow.place.offset);
        if flow.saved.elapsed() >= SAVING {
            self.save(flow).await?;
        }
        Ok(())
    }

    /// Moves the mark to where everything before is stored.
    async fn save(&self, flow: &mut Flow) -> Result<(), BackendError> {
        flow.saved = Instant::now();
        let (Some(name), Some(digest)) = (&self.name, &flow.place.digest) else {
            return Ok(());
        };
        if flow.place.offset == 0 {
            return Ok(());
        }
        let mark = Mark {
            offset: flow.place.offset,
            line: flow.place.line,
            digest: digest.clone(),
            event_time: self.event_time.micros(),
            written: flow.report.rows.written,
            outdated: flow.report.rows.outdated,
            refused: flow.report.refused,
        };
        let text = serde_json::to_string(&mark).unwrap_or_default();
        match self.backend.set_mark(name, Some(text)).await {
            // The rows will tell if the store stays away.
            Err(error) if error.transient => {
                self.progress
                    .note("the store does not answer; trying again");
                Ok(())
            }
            saved => saved,
        }
    }
}

/// Reads on a thread of its own, a little ahead of the engine.
fn read(mut rows: Rows) -> mpsc::Receiver<Result<Batch, MaterializeError>> {
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

/// Comes true with the first SIGINT or SIGTERM; a later one ends the process at once.
pub(super) async fn signalled() {
    one_signal().await;
    task::spawn(async {
        // Some parents hand on a signal that the whole process group has had already.
        tokio::time::sleep(Duration::from_millis(500)).await;
        one_signal().await;
        std::process::exit(i32::from(super::INTERRUPTED));
    });
}

async fn one_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let signals =
        signal(SignalKind::interrupt()).and_then(|int| Ok((int, signal(SignalKind::terminate())?)));
    // Without a handler the signal ends the process as it always does.
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
