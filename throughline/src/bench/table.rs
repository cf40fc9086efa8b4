//! The measurements as Markdown tables, as they stand in the README.

use std::collections::BTreeMap;
use std::fmt;

use super::load::{Measurement, Path};
use super::resources::Usage;
use super::{median, median_of};
use crate::cli::BenchOptions;

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    requests: usize,
    connections: usize,
    store: &'static str,
    measurements: BTreeMap<(&'static str, &'static str), Vec<Measurement>>,
    memory: Vec<(&'static str, Vec<Usage>)>,
    pub(crate) lost: u64,
}

impl Report {
    pub(crate) fn new(options: &BenchOptions) -> Self {
        Self {
            requests: options.requests,
            connections: options.connections,
            store: if options.prediction_store.is_some() {
                "Elasticsearch"
            } else {
                "SQLite"
            },
            measurements: BTreeMap::new(),
            memory: Vec::new(),
            lost: 0,
        }
    }

    pub(crate) fn add(&mut self, path: Path, telemetry: &'static str, measurement: Measurement) {
        self.measurements
            .entry((word(path), telemetry))
            .or_default()
            .push(measurement);
    }

    pub(crate) fn memory(&mut self, telemetry: &'static str, usage: Vec<Usage>) {
        self.memory.push((telemetry, usage));
    }

    /// The throughput with telemetry over the one without, round by round, and their median.
    fn ratio(&self, path: &'static str) -> f64 {
        let rounds = |telemetry| {
            self.measurements
                .get(&(path, telemetry))
                .map(Vec::as_slice)
                .unwrap_or_default()
        };
        let pairs = rounds("on").iter().zip(rounds("off"));
        median(
            pairs
                .map(|(on, off)| on.requests_per_second / off.requests_per_second)
                .collect(),
        )
    }
}

fn word(path: Path) -> &'static str {
    match path {
        Path::Hit => "hit",
        Path::Miss => "miss",
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} requests over {} connections, predictions in {}, medians of the rounds:\n",
            self.requests, self.connections, self.store
        )?;
        writeln!(
            out,
            "| path | telemetry | requests/s | p50 ms | p99 ms | CPU µs per request: gateway | model-service | feature-store | explorer |"
        )?;
        writeln!(out, "|---|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for ((path, telemetry), rounds) in &self.measurements {
            let figure = |figure: fn(&Measurement) -> f64| median_of(rounds, figure);
            let (speed, p50, p99) = (
                figure(|m| m.requests_per_second),
                figure(|m| m.p50_ms),
                figure(|m| m.p99_ms),
            );
            write!(
                out,
                "| {path} | {telemetry} | {speed:.0} | {p50:.2} | {p99:.2} |"
            )?;
            for part in ["gateway", "model-service", "feature-store", "explorer"] {
                let cpu = |m: &Measurement| {
                    m.cpu_us
                        .iter()
                        .find(|(name, _)| *name == part)
                        .map_or(f64::NAN, |(_, cpu)| *cpu)
                };
                write!(out, " {:.0} |", median_of(rounds, cpu))?;
            }
            writeln!(out)?;
        }
        writeln!(
            out,
            "\nThroughput with telemetry : without: hit {:.2}, miss {:.2}. Spans lost: {}.\n",
            self.ratio("hit"),
            self.ratio("miss"),
            self.lost
        )?;
        writeln!(
            out,
            "| resident memory, MiB | gateway | model-service | feature-store | explorer | together |"
        )?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|")?;
        for (telemetry, usage) in &self.memory {
            write!(out, "| telemetry {telemetry} |")?;
            for part in ["gateway", "model-service", "feature-store", "explorer"] {
                write!(
                    out,
                    " {:.1} |",
                    usage
                        .iter()
                        .find(|usage| usage.name == part)
                        .map_or(f64::NAN, |usage| usage.resident_mib)
                )?;
            }
            writeln!(
                out,
                " {:.1} |",
                usage.iter().map(|usage| usage.resident_mib).sum::<f64>()
            )?;
        }
        Ok(())
    }
}
