//! `throughline bench --batches`: what computing waiting requests together brings.
//!
//! One model service computes together what waits, the other computes each request alone
//! (`--batch-rows 1`). Everything else is the same, full tracing included. The requests are texts: a row
//! of the tables here is computed at once, and waits for nothing.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::anyhow;
use tokio::sync::mpsc;

use super::load::{self, Measurement, Workload};
use super::on_free_ports;
use super::table::{cpu, median};
use crate::cli::BenchArgs;
use crate::up::LocalSystem;

/// The measurements of one model, round by round.
#[derive(Default)]
struct Rounds {
    together: Vec<Measurement>,
    alone: Vec<Measurement>,
}

pub(super) async fn measure(args: &BenchArgs, folder: &Path) -> anyhow::Result<String> {
    let (deaths, mut dead) = mpsc::unbounded_channel();
    let mut together = LocalSystem::new(&on_free_ports(folder, "together", args), deaths.clone())?;
    let mut alone = LocalSystem::new(&on_free_ports(folder, "alone", args), deaths)?;
    alone.set_env("MODEL_SERVICE_BATCH_ROWS", "1");
    let outcome = tokio::select! {
        biased;
        Some(death) = dead.recv() => Err(anyhow!(death)),
        outcome = compare(&mut together, &mut alone, args) => outcome,
    };
    together.stop().await;
    alone.stop().await;
    outcome
}

async fn compare(
    together: &mut LocalSystem,
    alone: &mut LocalSystem,
    args: &BenchArgs,
) -> anyhow::Result<String> {
    together.start().await?;
    alone.start().await?;
    let mut report = format!(
        "{} requests over {} connections, medians of the rounds:\n\n\
         | model | waiting requests | requests/s | p50 ms | p99 ms | CPU µs per request: model-service |\n\
         |---|---|--:|--:|--:|--:|\n",
        args.requests, args.connections
    );
    let mut rounds = Rounds::default();
    for round in 0..=args.rounds {
        let measured = load::run(together, Workload::Text, args).await?;
        let measured_alone = load::run(alone, Workload::Text, args).await?;
        // The first round warms caches and pools, and does not count.
        if round > 0 {
            rounds.together.push(measured);
            rounds.alone.push(measured_alone);
        }
    }
    let model = Workload::Text.name();
    for (how, measured) in [
        ("together", &rounds.together),
        ("one by one", &rounds.alone),
    ] {
        writeln!(report, "| {model} | {how} |{}", figures(measured))?;
    }
    writeln!(
        report,
        "\nThroughput together : one by one: {model} {:.2}.",
        rounds.ratio()
    )?;
    Ok(report)
}

fn figures(rounds: &[Measurement]) -> String {
    let of = |figure: fn(&Measurement) -> f64| median(rounds.iter().map(figure));
    format!(
        " {:.0} | {:.2} | {:.2} | {:.0} |",
        of(|round| round.requests_per_second),
        of(|round| round.p50_ms),
        of(|round| round.p99_ms),
        of(|round| cpu(round, "model-service")),
    )
}

impl Rounds {
    /// The throughput with batches divided by the one without, as the median of the rounds.
    fn ratio(&self) -> f64 {
        let pairs = self.together.iter().zip(&self.alone);
        median(
            pairs.map(|(together, alone)| together.requests_per_second / alone.requests_per_second),
        )
    }
}
