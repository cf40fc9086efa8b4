//! The measurements as Markdown tables, in the form of the README.

use std::collections::BTreeMap;
use std::fmt;

use super::load::{Measurement, Workload};
use super::resources::Usage;
use crate::cli::BenchArgs;

/// The columns of the services.
const PARTS: [&str; 4] = ["gateway", "model-service", "feature-store", "explorer"];

/// All measurements of one run.
#[derive(Debug)]
pub(crate) struct BenchReport {
    requests: usize,
    connections: usize,
    store: &'static str,
    /// The rounds by workload and telemetry, `on` or `off`.
    rounds: BTreeMap<(&'static str, &'static str), Vec<Measurement>>,
    memory: Vec<(&'static str, Vec<Usage>)>,
    pub(crate) lost: u64,
}

impl BenchReport {
    pub(crate) fn new(args: &BenchArgs) -> Self {
        Self {
            requests: args.requests,
            connections: args.connections,
            store: if args.prediction_store.is_some() {
                "Elasticsearch"
            } else {
                "SQLite"
            },
            rounds: BTreeMap::new(),
            memory: Vec::new(),
            lost: 0,
        }
    }

    pub(crate) fn add(
        &mut self,
        workload: Workload,
        telemetry: &'static str,
        measurement: Measurement,
    ) {
        let rounds = self.rounds.entry((workload.name(), telemetry)).or_default();
        rounds.push(measurement);
    }

    pub(crate) fn memory(&mut self, telemetry: &'static str, usage: Vec<Usage>) {
        self.memory.push((telemetry, usage));
    }

    /// The throughput with telemetry divided by the one without, as the median of the rounds.
    fn ratio(&self, workload: Workload) -> f64 {
        let on = self.throughputs(workload, "on");
        let off = self.throughputs(workload, "off");
        median(on.iter().zip(&off).map(|(on, off)| on / off))
    }

    fn throughputs(&self, workload: Workload, telemetry: &'static str) -> Vec<f64> {
        let rounds = self.rounds.get(&(workload.name(), telemetry));
        let rounds = rounds.into_iter().flatten();
        rounds.map(|round| round.requests_per_second).collect()
    }

    fn write_load(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "| path | telemetry | requests/s | p50 ms | p99 ms | CPU µs per request: gateway | model-service | feature-store | explorer |"
        )?;
        writeln!(out, "|---|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for ((path, telemetry), rounds) in &self.rounds {
            let speed = median(rounds.iter().map(|round| round.requests_per_second));
            let p50 = median(rounds.iter().map(|round| round.p50_ms));
            let p99 = median(rounds.iter().map(|round| round.p99_ms));
            write!(
                out,
                "| {path} | {telemetry} | {speed:.0} | {p50:.2} | {p99:.2} |"
            )?;
            for part in PARTS {
                let cpu = median(rounds.iter().map(|round| cpu(round, part)));
                write!(out, " {cpu:.0} |")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_memory(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "| resident memory, MiB | gateway | model-service | feature-store | explorer | together |"
        )?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|")?;
        for (telemetry, usages) in &self.memory {
            write!(out, "| telemetry {telemetry} |")?;
            for part in PARTS {
                let usage = usages.iter().find(|usage| usage.name == part);
                let resident = usage.map_or(f64::NAN, |usage| usage.resident_mib);
                write!(out, " {resident:.1} |")?;
            }
            let together: f64 = usages.iter().map(|usage| usage.resident_mib).sum();
            writeln!(out, " {together:.1} |")?;
        }
        Ok(())
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} requests over {} connections, predictions in {}, medians of the rounds:\n",
            self.requests, self.connections, self.store
        )?;
        self.write_load(out)?;
        writeln!(
            out,
            "\nThroughput with telemetry : without: hit {:.2}, miss {:.2}. Spans lost: {}.\n",
            self.ratio(Workload::Hit),
            self.ratio(Workload::Miss),
            self.lost
        )?;
        self.write_memory(out)
    }
}

pub(super) fn cpu(measurement: &Measurement, part: &str) -> f64 {
    let found = measurement.cpu_us.iter().find(|(name, _)| *name == part);
    found.map_or(f64::NAN, |(_, cpu)| *cpu)
}

pub(super) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
