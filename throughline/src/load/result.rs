//! What a load found: counts and latencies by kind, as tables and as JSON.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use super::args::LoadArgs;
use super::latency::{LATE, Latencies, Moments, Summary};
use super::mix::Kind;
use super::outcome::Outcome;
use super::requests::Plan;
use super::writes::Verified;

/// Everything that is counted while the load runs.
pub(super) struct Counts {
    kinds: BTreeMap<Kind, KindCounts>,
    outcomes: BTreeMap<Outcome, u64>,
    /// Requests with a fault, and how many of them did not succeed.
    faulty: u64,
    faulty_failed: u64,
}

struct KindCounts {
    requests: u64,
    failed: u64,
    latencies: Latencies,
}

/// The result, as it is written in JSON.
#[derive(Debug, Serialize)]
pub(super) struct LoadResult {
    rate: f64,
    seconds: f64,
    pub(super) requests: u64,
    /// Requests whose outcome is not that of a system that works; those with a fault never count.
    pub(super) failed: u64,
    /// Failed requests by outcome.
    failures: BTreeMap<String, u64>,
    /// All requests by status, or by the reason why there is no answer.
    outcomes: BTreeMap<String, u64>,
    faulty: Faulty,
    late: Late,
    /// Milliseconds from the scheduled arrival: corrected for coordinated omission.
    latency_ms: Summary,
    /// Milliseconds from the sending.
    from_sending_ms: Summary,
    kinds: Vec<KindResult>,
    pub(super) writes: Option<Verified>,
    /// Whether it was stopped before its end.
    pub(super) interrupted: bool,
}

#[derive(Debug, Serialize)]
struct Faulty {
    requests: u64,
    not_successful: u64,
}

#[derive(Debug, Serialize)]
struct Late {
    requests: u64,
    /// Later than this.
    threshold_ms: f64,
    worst_ms: f64,
    /// How often all requests that may be in flight were.
    max_in_flight_reached: u64,
}

#[derive(Debug, Serialize)]
struct KindResult {
    kind: &'static str,
    requests: u64,
    failed: u64,
    latency_ms: Summary,
}

/// What only the loop knows at its end.
pub(super) struct Ending {
    pub(super) took: Duration,
    pub(super) max_in_flight_reached: u64,
    pub(super) interrupted: bool,
    pub(super) failures: BTreeMap<Outcome, u64>,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            kinds: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            faulty: 0,
            faulty_failed: 0,
        }
    }

    /// Counts one request; one without moments was not sent.
    pub(super) fn add(
        &mut self,
        kind: Kind,
        plan: &Plan,
        outcome: &Outcome,
        moments: Option<Moments>,
    ) -> anyhow::Result<()> {
        let counts = match self.kinds.entry(kind) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(KindCounts {
                requests: 0,
                failed: 0,
                latencies: Latencies::new()?,
            }),
        };
        counts.requests += 1;
        counts.failed += u64::from(!plan.expects(kind, outcome));
        if let Some(moments) = moments {
            counts.latencies.record(moments);
        }
        *self.outcomes.entry(outcome.clone()).or_default() += 1;
        if plan.faulty {
            self.faulty += 1;
            self.faulty_failed += u64::from(!outcome.is_success());
        }
        Ok(())
    }

    pub(super) fn requests(&self) -> u64 {
        self.kinds.values().map(|kind| kind.requests).sum()
    }

    pub(super) fn failed(&self) -> u64 {
        self.kinds.values().map(|kind| kind.failed).sum()
    }

    /// The latencies of all kinds together.
    pub(super) fn latencies(&self) -> anyhow::Result<Latencies> {
        let mut all = Latencies::new()?;
        for kind in self.kinds.values() {
            all.add(&kind.latencies)?;
        }
        Ok(all)
    }

    pub(super) fn result(&self, args: &LoadArgs, ending: &Ending) -> anyhow::Result<LoadResult> {
        let all = self.latencies()?;
        let kinds = self.kinds.iter().map(|(kind, counts)| KindResult {
            kind: kind.name(),
            requests: counts.requests,
            failed: counts.failed,
            latency_ms: counts.latencies.corrected(),
        });
        Ok(LoadResult {
            rate: args.rate,
            seconds: ending.took.as_secs_f64(),
            requests: self.requests(),
            failed: self.failed(),
            failures: names(&ending.failures),
            outcomes: names(&self.outcomes),
            faulty: Faulty {
                requests: self.faulty,
                not_successful: self.faulty_failed,
            },
            late: Late {
                requests: all.late(),
                threshold_ms: LATE.as_secs_f64() * 1e3,
                worst_ms: all.latest().as_secs_f64() * 1e3,
                max_in_flight_reached: ending.max_in_flight_reached,
            },
            latency_ms: all.corrected(),
            from_sending_ms: all.uncorrected(),
            kinds: kinds.collect(),
            writes: None,
            interrupted: ending.interrupted,
        })
    }
}

fn names(counts: &BTreeMap<Outcome, u64>) -> BTreeMap<String, u64> {
    let named = counts
        .iter()
        .map(|(outcome, count)| (outcome.name(), *count));
    named.collect()
}

impl Display for LoadResult {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} requests in {:.1} s, scheduled at {} per second{}",
            self.requests,
            self.seconds,
            self.rate,
            if self.interrupted {
                ", interrupted"
            } else {
                ""
            }
        )?;
        self.write_latencies(out)?;
        writeln!(
            out,
            "late: {} requests sent more than {} ms after their time, the worst {:.1} ms; --max-in-flight was reached {} times",
            self.late.requests,
            self.late.threshold_ms,
            self.late.worst_ms,
            self.late.max_in_flight_reached,
        )?;
        writeln!(out, "outcomes: {}", list(&self.outcomes))?;
        if self.faulty.requests > 0 {
            writeln!(
                out,
                "with a fault: {}, of which {} did not succeed",
                self.faulty.requests, self.faulty.not_successful
            )?;
        }
        write!(out, "failed: {}", self.failed)?;
        if !self.failures.is_empty() {
            write!(out, " ({})", list(&self.failures))?;
        }
        if let Some(writes) = &self.writes {
            write!(out, "\n{writes}")?;
        }
        Ok(())
    }
}

impl LoadResult {
    fn write_latencies(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "\n{:<14} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "latency in ms", "requests", "failed", "p50", "p90", "p95", "p99", "p99.9", "max"
        )?;
        for kind in &self.kinds {
            line(
                out,
                kind.kind,
                Some((kind.requests, kind.failed)),
                &kind.latency_ms,
            )?;
        }
        line(
            out,
            "all",
            Some((self.requests, self.failed)),
            &self.latency_ms,
        )?;
        line(out, "from sending", None, &self.from_sending_ms)?;
        writeln!(
            out,
            "Latencies begin at the scheduled arrival, which corrects for coordinated omission; those of the last line at the sending.\n"
        )
    }
}

fn line(
    out: &mut Formatter<'_>,
    name: &str,
    counts: Option<(u64, u64)>,
    latency: &Summary,
) -> fmt::Result {
    let [requests, failed] = match counts {
        Some((requests, failed)) => [requests.to_string(), failed.to_string()],
        None => [String::new(), String::new()],
    };
    write!(out, "{name:<14} {requests:>9} {failed:>8}")?;
    let Summary {
        p50,
        p90,
        p95,
        p99,
        p999,
        max,
        ..
    } = latency;
    for value in [p50, p90, p95, p99, p999, max] {
        write!(out, " {value:>9.2}")?;
    }
    writeln!(out)
}

impl Display for Verified {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "writes: {} of features and {} of predictions were accepted; {} lost, {} could not be read back",
            self.features_accepted, self.predictions_accepted, self.lost, self.unread
        )?;
        if !self.lost_ids.is_empty() {
            write!(out, "\nlost: {}", self.lost_ids.join(", "))?;
        }
        Ok(())
    }
}

fn list(counts: &BTreeMap<String, u64>) -> String {
    let parts = counts
        .iter()
        .map(|(name, count)| format!("{name}: {count}"));
    parts.collect::<Vec<_>>().join(", ")
}
