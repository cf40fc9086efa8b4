//! `throughline train --workers N`: the learning by N processes on JAX, one trace over all.

mod args;
mod process;
mod watch;

use std::net::TcpListener;
use std::sync::mpsc;

use anyhow::{Context, bail};
use model_service::training::{Epoch, Plan, Ranks, RanksError, TrainOptions, plan};
use telemetry::{KeyValue, Span, attr};

pub(crate) use args::RanksArgs;
use process::{RankProcess, RankSpec};
use watch::{Member, Watch};

use super::TrainArgs;
use super::args::ProgressMode;
use crate::cli;
use crate::python::{EnvironmentState, PythonEnvironment};
use crate::screen;

/// The processes of one training on this machine.
pub(super) struct Workers<'a> {
    args: &'a RanksArgs,
    count: usize,
    environment: PythonEnvironment,
    /// Whether to say which process a rank is, and where its time went.
    shown: bool,
}

impl<'a> Workers<'a> {
    /// Looks for the environment with JAX; the message says how to make it.
    pub(super) fn new(args: &'a TrainArgs, count: usize) -> anyhow::Result<Self> {
        let root = cli::environment(
            args.ranks.python_environment.as_deref(),
            &args.place.data_dir,
        );
        let problem = match PythonEnvironment::find(&root)? {
            EnvironmentState::Ready(environment) if environment.has_jax() => {
                return Ok(Self {
                    args: &args.ranks,
                    count,
                    environment,
                    shown: args.progress != ProgressMode::None,
                });
            }
            EnvironmentState::Ready(_) => "is without JAX",
            EnvironmentState::Missing => "is not there",
            EnvironmentState::Outdated => "has other versions than this program needs",
        };
        bail!(
            "--workers needs JAX, and the Python environment {} {problem}; `throughline python-setup --extra jax` makes it",
            root.display()
        )
    }

    /// Is one rank of a training whose number 0 runs elsewhere. Its spans become part of that one's
    /// trace, and that one writes the version.
    pub(super) fn follow(&mut self, options: &TrainOptions) -> anyhow::Result<()> {
        let plan = plan(options)?;
        self.run(&plan, &mut |_| {}).map_err(RanksError::from)?;
        Ok(())
    }

    /// Whether number 0 runs elsewhere.
    pub(super) fn is_follower(&self) -> bool {
        self.args.rank.is_some_and(|rank| rank > 0)
    }

    fn run(
        &self,
        plan: &Plan,
        on_epoch: &mut dyn FnMut(Epoch),
    ) -> Result<Option<Vec<u8>>, RunError> {
        let folder = tempfile::tempdir().context("cannot make a folder for the plan")?;
        write(plan, folder.path())?;
        let (coordinator, bind) = self.coordinator()?;
        let (events, received) = mpsc::channel();
        let mut members = Vec::new();
        for rank in self.ranks() {
            let attributes = vec![KeyValue::new(attr::ML_TRAINING_RANK, number(rank))];
            let span = (!self.is_follower()).then(|| Span::start("rank", attributes));
            let slow = self.args.slow_rank.filter(|(slow, _)| *slow == rank);
            let process = RankProcess::start(
                &RankSpec {
                    environment: &self.environment,
                    plan: folder.path(),
                    rank,
                    ranks: self.count,
                    coordinator: &coordinator,
                    bind: bind.as_deref(),
                    slow_ms: slow.map_or(0, |(_, ms)| ms),
                    span: span.as_ref(),
                },
                &events,
            )?;
            if self.shown {
                screen::warn(format!("rank {rank} is process {}", process.pid()));
            }
            members.push(Member::new(rank, process, span));
        }
        drop(events);
        let epochs = plan.fields.learning_rates.len();
        let watch = Watch::new(members, self.count, epochs, self.args.epoch_timeout);
        watch.until_all_ended(&received, on_epoch)?;
        if self.is_follower() {
            return Ok(None);
        }
        let weights = folder.path().join("weights.safetensors");
        let weights = std::fs::read(weights).context("rank 0 left no weights")?;
        Ok(Some(weights))
    }

    /// The ranks of this machine.
    fn ranks(&self) -> std::ops::Range<usize> {
        match self.args.rank {
            Some(rank) => rank..rank + 1,
            None => 0..self.count,
        }
    }

    /// Where the ranks meet, and what number 0 binds for it.
    fn coordinator(&self) -> anyhow::Result<(String, Option<String>)> {
        if let Some(coordinator) = &self.args.coordinator {
            return Ok((coordinator.clone(), self.args.coordinator_bind.clone()));
        }
        // JAX cannot take a bound socket or port 0. If another process takes the port in between, rank
        // 0 fails to bind it and says so.
        let free = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
        let address = free.local_addr()?.to_string();
        Ok((address.clone(), Some(address)))
    }
}

impl Ranks for Workers<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn learn(
        &mut self,
        plan: &Plan,
        on_epoch: &mut dyn FnMut(Epoch),
    ) -> Result<Vec<u8>, RanksError> {
        let weights = self.run(plan, on_epoch)?;
        Ok(weights.unwrap_or_default())
    }
}

/// A rank's failure, or that of starting them.
enum RunError {
    Ranks(RanksError),
    Start(anyhow::Error),
}

impl From<anyhow::Error> for RunError {
    fn from(error: anyhow::Error) -> Self {
        Self::Start(error)
    }
}

impl From<RanksError> for RunError {
    fn from(error: RanksError) -> Self {
        Self::Ranks(error)
    }
}

impl From<RunError> for RanksError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Ranks(error) => error,
            RunError::Start(error) => Self::Start(error.into()),
        }
    }
}

fn write(plan: &Plan, folder: &std::path::Path) -> anyhow::Result<()> {
    std::fs::write(folder.join("plan.safetensors"), &plan.tensors)?;
    std::fs::write(folder.join("plan.json"), serde_json::to_vec(&plan.fields)?)?;
    Ok(())
}

fn number(rank: usize) -> i64 {
    i64::try_from(rank).unwrap_or(i64::MAX)
}

/// Says where the time of each rank went, so that a slow one stands out without the trace.
fn say_times(member: &Member) {
    screen::say(format!(
        "rank {}: computed {:.2} s, was in all-reduces {:.2} s",
        member.rank, member.compute_seconds, member.all_reduce_seconds
    ));
}
