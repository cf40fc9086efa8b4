//! `throughline check`: the checklist of an observable ML system, as a command against any
//! deployment.
//!
//! It sends its own requests to the gateway and looks for what they leave in the place where the
//! telemetry goes. Nothing is configured about the deployment: the gateway names the variants, the
//! traces name the services.

mod args;
mod failure;
mod fields;
mod gateway;
mod json_client;
mod percentile;
mod place;
mod report;
mod rules;
mod signals;
mod stages;
mod system;
mod wait;

use anyhow::bail;

pub(crate) use args::CheckArgs;

use crate::data_sets;
use gateway::Gateway;
use place::Place;
use report::{Outcome, Report};
use system::Sample;

/// Runs the checklist; an error if a row failed.
pub(crate) fn main(args: &CheckArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        let mut checklist = Checklist::new(args)?;
        checklist.run().await;
        anyhow::Ok(checklist.report)
    })?;
    report.finish()?;
    match report.count(Outcome::Failed) {
        0 => Ok(()),
        failed => bail!("the check failed at {failed} points"),
    }
}

/// The checklist and what it knows so far.
struct Checklist {
    args: CheckArgs,
    gateway: Gateway,
    place: Place,
    report: Report,
    /// One computed prediction of each variant, with its trace.
    samples: Vec<Sample>,
    next_wine: u32,
}

impl Checklist {
    fn new(args: &CheckArgs) -> anyhow::Result<Self> {
        Ok(Self {
            args: args.clone(),
            gateway: Gateway::new(&args.gateway.url)?,
            place: Place::new(&args.place)?,
            report: Report::new(args.json),
            samples: Vec::new(),
            // Different wines each time, so that their features are looked up again.
            next_wine: std::process::id(),
        })
    }

    /// All points, in the order in which a failure explains the later ones.
    async fn run(&mut self) {
        if !self.gateway_is_ready().await {
            return;
        }
        self.ask_each_variant().await;
        self.answer_from_the_store().await;
        self.compute_predictions().await;
        if !self.place_answers().await {
            return;
        }
        self.traces_are_complete().await;
        self.signals_arrive().await;
        self.fields_are_there().await;
        self.stages_have_durations().await;
        self.failure_leaves_its_trace().await;
        self.rules_fire().await;
    }

    fn wine(&mut self) -> String {
        self.next_wine = self.next_wine.wrapping_add(7);
        format!("wine-{:04}", self.next_wine % data_sets::WINES + 1)
    }
}
