//! Watches the ranks until the last one has ended: their epochs, their failures, and whether one
//! stands still.

use std::collections::VecDeque;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use model_service::training::{Epoch, RanksError};
use telemetry::{Span, attr};

use super::process::{EpochLine, Event, Line, RankProcess};
use super::say_times;

/// The first epoch also takes the start of Python and JAX and the compilation.
const START: Duration = Duration::from_mins(2);
/// After a failure the other ranks notice that their connections closed, send their telemetry and
/// end. Those that do not are killed.
const GRACE: Duration = Duration::from_secs(20);
/// A rank that lives says so every second.
const SILENCE: Duration = Duration::from_secs(5);
/// The exit code of a rank that ended because it lost another one.
const ALONE: i32 = 3;
/// The last lines that are kept of each rank, to explain a failure.
const LAST_LINES: usize = 5;

/// A rank of this machine.
pub(super) struct Member {
    pub(super) rank: usize,
    pub(super) compute_seconds: f64,
    pub(super) all_reduce_seconds: f64,
    process: RankProcess,
    /// Ends with the process.
    span: Option<Span>,
    epochs: usize,
    /// All-reduces that it has begun.
    step: u64,
    heard: Instant,
    lines: VecDeque<String>,
    end: Option<End>,
}

/// How a rank ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Success,
    /// By itself, and the order of the failures.
    Failed {
        status: ExitStatus,
        place: usize,
    },
    /// Killed by us, while it was silent or not.
    Killed {
        silent: bool,
    },
}

/// All of them.
pub(super) struct Watch {
    members: Vec<Member>,
    ranks: usize,
    epochs: usize,
    timeout: Duration,
    /// When the ranks have to have shown progress, or, after a failure, to have ended.
    deadline: Instant,
    failures: usize,
}

impl Member {
    pub(super) fn new(rank: usize, process: RankProcess, span: Option<Span>) -> Self {
        Self {
            rank,
            compute_seconds: 0.0,
            all_reduce_seconds: 0.0,
            process,
            span,
            epochs: 0,
            step: 0,
            heard: Instant::now(),
            lines: VecDeque::new(),
            end: None,
        }
    }

    fn is_running(&self) -> bool {
        self.end.is_none()
    }

    fn is_silent(&self) -> bool {
        self.heard.elapsed() > SILENCE
    }

    fn epoch(&mut self, line: &EpochLine) {
        self.epochs = line.epoch;
        self.compute_seconds += line.compute_seconds;
        self.all_reduce_seconds += line.all_reduce_seconds;
    }

    fn keep(&mut self, line: String) {
        let Some(line) = complaint(line) else { return };
        if self.lines.len() == LAST_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// What happened to it, after `rank 1 of 2`.
    fn how(&self) -> String {
        let epoch = self.epochs + 1;
        match self.end {
            Some(End::Failed { status, .. }) if status.code() == Some(ALONE) => {
                format!("lost another rank in epoch {epoch}")
            }
            Some(End::Failed { status, .. }) => {
                let lines = self.lines.iter().map(|line| format!("\n  {line}"));
                let lines: String = lines.collect();
                format!("ended in epoch {epoch} ({status}){lines}")
            }
            Some(End::Killed { silent: true }) => {
                format!("stands still: no sign of life in epoch {epoch}")
            }
            _ => format!("waited in epoch {epoch} until it was ended"),
        }
    }
}

/// What may explain a failure: of the log the warnings and errors, and what is no log.
fn complaint(line: String) -> Option<String> {
    let Ok(record) = serde_json::from_str::<serde_json::Value>(&line) else {
        return Some(line);
    };
    let of = |key: &str| record[key].as_str();
    let bad = matches!(of("level"), Some("WARN" | "ERROR"));
    of("message").filter(|_| bad).map(str::to_owned)
}

impl Watch {
    pub(super) fn new(
        members: Vec<Member>,
        ranks: usize,
        epochs: usize,
        timeout: Duration,
    ) -> Self {
        Self {
            members,
            ranks,
            epochs,
            timeout,
            deadline: Instant::now() + START.max(timeout),
            failures: 0,
        }
    }

    /// Returns when every rank has ended, which takes at most the time limit of an epoch and
    /// [`GRACE`] after one has failed or stands still.
    pub(super) fn until_all_ended(
        mut self,
        events: &Receiver<(usize, Event)>,
        on_epoch: &mut dyn FnMut(Epoch),
    ) -> Result<(), RanksError> {
        while self.members.iter().any(Member::is_running) {
            let patience = self.deadline.saturating_duration_since(Instant::now());
            match events.recv_timeout(patience) {
                Ok((rank, event)) => self.handle(rank, event, on_epoch),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => self.kill(),
            }
        }
        let failed = self.culprit().map(|member| self.error(member));
        for member in &self.members {
            Self::close(member, failed.as_ref(), &self.error(member));
        }
        failed.map_or(Ok(()), Err)
    }

    fn handle(&mut self, rank: usize, event: Event, on_epoch: &mut dyn FnMut(Epoch)) {
        let first = self.members.first().map(|member| member.rank);
        let Some(member) = self.members.iter_mut().find(|member| member.rank == rank) else {
            return;
        };
        member.heard = Instant::now();
        match event {
            Event::Said(Line::Alive { step }) => member.step = step,
            Event::Noise(line) => member.keep(line),
            Event::Said(Line::Epoch(line)) => {
                member.epoch(&line);
                if self.failures == 0 {
                    self.deadline = Instant::now() + self.timeout;
                }
                if first == Some(rank) {
                    on_epoch(epoch(&line, self.epochs));
                }
            }
            Event::Closed => self.ended(rank),
        }
    }

    fn ended(&mut self, rank: usize) {
        let Some(member) = self.members.iter_mut().find(|member| member.rank == rank) else {
            return;
        };
        if !member.is_running() {
            return;
        }
        let Ok(status) = member.process.wait() else {
            member.end = Some(End::Killed { silent: true });
            return;
        };
        if status.success() {
            member.end = Some(End::Success);
            return;
        }
        member.end = Some(End::Failed {
            status,
            place: self.failures,
        });
        if self.failures == 0 {
            self.deadline = Instant::now() + GRACE;
        }
        self.failures += 1;
    }

    /// Ends what has not ended in time.
    fn kill(&mut self) {
        for member in self.members.iter_mut().filter(|member| member.is_running()) {
            let silent = member.is_silent();
            member.process.kill();
            member.end = Some(End::Killed { silent });
        }
    }

    /// The rank that the others failed with: one that stood still, else the first that failed for a
    /// reason of its own.
    fn culprit(&self) -> Option<&Member> {
        let of = |found: fn(End) -> bool| {
            let members = self.members.iter();
            members.filter(move |member| member.end.is_some_and(found))
        };
        let own = |end| matches!(end, End::Failed { status, .. } if status.code() != Some(ALONE));
        of(|end| end == End::Killed { silent: true })
            .next()
            .or_else(|| of(own).min_by_key(|member| place(member)))
            .or_else(|| of(|end| matches!(end, End::Failed { .. })).min_by_key(|m| place(m)))
            .or_else(|| of(|end| end != End::Success).min_by_key(|member| member.step))
    }

    fn error(&self, culprit: &Member) -> RanksError {
        let (rank, ranks, how) = (culprit.rank, self.ranks, culprit.how());
        match culprit.end {
            Some(End::Killed { silent: true }) => RanksError::Stalled { rank, ranks, how },
            _ => RanksError::Rank { rank, ranks, how },
        }
    }

    /// Completes the span of a rank; `failed` is why all failed, and `own` what this rank would say.
    fn close(member: &Member, failed: Option<&RanksError>, own: &RanksError) {
        let Some(span) = &member.span else { return };
        span.set(attr::ML_TRAINING_COMPUTE_DURATION, member.compute_seconds);
        span.set(
            attr::ML_TRAINING_ALL_REDUCE_DURATION,
            member.all_reduce_seconds,
        );
        match failed {
            None => say_times(member),
            Some(_) if member.end == Some(End::Success) => {}
            Some(failed) if failed.rank() == Some(member.rank) => {
                span.fail(failed, failed.error_type());
            }
            // It ended, or was ended, because of another one.
            Some(_) => span.fail(own, "rank_lost"),
        }
    }
}

fn place(member: &Member) -> usize {
    match member.end {
        Some(End::Failed { place, .. }) => place,
        _ => usize::MAX,
    }
}

fn epoch(line: &EpochLine, of: usize) -> Epoch {
    Epoch {
        number: line.epoch,
        of,
        loss: line.loss,
        gradient_norm: line.gradient_norm,
        accuracy: Some(line.accuracy),
        rows_per_second: line.rows_per_second,
    }
}
