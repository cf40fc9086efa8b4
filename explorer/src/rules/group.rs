//! One group of a rule: what it saw in the window, and its state.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::report::{Measured, State};
use super::rule::{Aggregate, Condition, Rule, Threshold};
use super::state::{Machine, Verdict};
use super::window::{Totals, Window};
use crate::store::TraceId;

/// Series of a metric in one group.
const MAX_SERIES: usize = 64;
/// Samples of one series in a window.
const MAX_SAMPLES: u64 = 30;

/// A group with its state.
#[derive(Debug)]
pub(super) struct Group {
    pub window: Window,
    pub samples: Samples,
    pub machine: Machine,
    pub measured: Measured,
    /// Traces of bad items, the newest first; after the end those of the last look.
    pub traces: Vec<TraceId>,
}

/// The series of a metric that belong to a group, by a hash of what identifies them.
#[derive(Debug, Default)]
pub(super) struct Samples {
    series: HashMap<u64, VecDeque<Sample>>,
}

/// Value of a number, or sum and count of a histogram. Counters are totals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub at: u64,
    pub value: f64,
    pub count: f64,
}

/// How the values of a series go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// A value now.
    Gauge,
    /// A total since a start; `young` when the start is in the window.
    Total { young: bool },
    /// What came since the last point.
    Delta,
}

impl Group {
    pub(super) fn new(now: u64) -> Group {
        Group {
            window: Window::default(),
            samples: Samples::default(),
            machine: Machine::new(now),
            measured: Measured::default(),
            traces: Vec::new(),
        }
    }

    /// Measures, and returns the new state if it changes.
    pub(super) fn look(&mut self, rule: &Rule, now: u64) -> Option<State> {
        let length = nanoseconds(rule.window);
        let verdict = if let Condition::Metric { aggregate, bad, .. } = rule.condition {
            self.samples.forget(now, length);
            self.judge_metric(rule, aggregate, bad)
        } else {
            self.window.forget(now, length);
            let totals = self.window.totals();
            self.judge_items(rule, totals)
        };
        let (pending, keep) = (nanoseconds(rule.pending), nanoseconds(rule.keep_firing));
        self.machine.step(now, verdict, pending, keep)
    }

    /// Whether nothing is left to remember.
    pub(super) fn is_over(&self, rule: &Rule, now: u64) -> bool {
        let old = now.saturating_sub(self.machine.since) >= nanoseconds(rule.window);
        let quiet = match self.machine.state {
            State::Inactive => true,
            State::Resolved => old,
            State::Pending | State::Firing => false,
        };
        quiet && self.window.is_empty() && self.samples.series.is_empty()
    }

    fn judge_items(&mut self, rule: &Rule, totals: Totals) -> Verdict {
        let share = totals.share();
        let allowed = rule.more_than as f64;
        let margin = 1.0 - rule.hysteresis;
        let verdict = Verdict {
            bad: totals.bad > rule.more_than && share > rule.share,
            good: totals.bad as f64 <= allowed * margin || share <= rule.share * margin,
        };
        let (value, limit, unit) = match &rule.condition {
            Condition::Latency {
                quantile,
                longer_than,
                ..
            } => {
                let value = totals.quantile(*quantile, *longer_than);
                (value, *longer_than, "seconds")
            }
            Condition::ErrorRate(_) => (share, rule.share, "share"),
            _ if rule.share > 0.0 => (share, rule.share, "share"),
            _ => (totals.bad as f64, allowed, "items"),
        };
        self.measured = Measured {
            value: (totals.all > 0).then_some(value),
            limit,
            unit: unit.to_owned(),
            items: totals.all,
            bad: totals.bad,
        };
        if !totals.traces.is_empty() {
            self.traces = totals.traces;
        }
        verdict
    }

    fn judge_metric(&mut self, rule: &Rule, aggregate: Aggregate, bad: Threshold) -> Verdict {
        let (value, items) = match aggregate {
            Aggregate::Last => (self.samples.worst(bad), self.samples.series.len() as f64),
            Aggregate::Mean => {
                let grown = self.samples.growth();
                let enough = grown.count > 0.0 && grown.count > rule.more_than as f64;
                (enough.then_some(grown.value / grown.count), grown.count)
            }
            Aggregate::Rate => {
                let known = !self.samples.series.is_empty();
                let rate = self.samples.growth().value / rule.window.as_secs_f64();
                (known.then_some(rate), self.samples.series.len() as f64)
            }
        };
        let value = value.filter(|value| value.is_finite());
        let is_bad = value.is_some_and(|value| bad.is_bad(value));
        self.measured = Measured {
            value,
            limit: bad.limit(),
            unit: String::new(),
            items: items as u64,
            bad: if is_bad { items as u64 } else { 0 },
        };
        Verdict {
            bad: is_bad,
            // Without a value there is nothing that could be bad.
            good: value.is_none_or(|value| bad.is_clear(value, rule.hysteresis)),
        }
    }
}

impl Samples {
    /// Adds the newest point of a series. `length` is the window in nanoseconds.
    pub(super) fn add(&mut self, series: u64, new: Sample, course: Course, length: u64) {
        if !self.series.contains_key(&series) && self.series.len() >= MAX_SERIES {
            return;
        }
        let samples = self.series.entry(series).or_default();
        let start = Sample {
            at: new.at.saturating_sub(1),
            value: 0.0,
            count: 0.0,
        };
        let mut new = new;
        match (samples.back(), course) {
            (None, Course::Total { young: true } | Course::Delta) => samples.push_back(start),
            (Some(last), Course::Delta) => {
                new.value += last.value;
                new.count += last.count;
            }
            // The total of a process that began again.
            (Some(last), Course::Total { .. })
                if new.value < last.value && new.count <= last.count || new.count < last.count =>
            {
                samples.clear();
                samples.push_back(start);
            }
            _ => {}
        }
        // Points that come often replace one another, but the oldest stays where it is.
        if let [.., before, last] = samples.make_contiguous()
            && last.at.saturating_sub(before.at) < length / MAX_SAMPLES
        {
            samples.pop_back();
        }
        samples.push_back(new);
    }

    /// Keeps the newest sample at or before the window's begin, from which the growth is counted.
    fn forget(&mut self, now: u64, length: u64) {
        let begin = now.saturating_sub(length);
        self.series.retain(|_, samples| {
            while samples.get(1).is_some_and(|second| second.at <= begin) {
                samples.pop_front();
            }
            samples.back().is_some_and(|last| last.at > begin)
        });
    }

    /// The newest value that is furthest to the bad side.
    fn worst(&self, bad: Threshold) -> Option<f64> {
        let newest = self.series.values().filter_map(|samples| samples.back());
        let values = newest
            .map(|sample| sample.value)
            .filter(|value| value.is_finite());
        match bad {
            Threshold::Above(_) => values.reduce(f64::max),
            Threshold::Below(_) => values.reduce(f64::min),
        }
    }

    /// What all series grew by in the window.
    fn growth(&self) -> Sample {
        let mut sum = Sample {
            at: 0,
            value: 0.0,
            count: 0.0,
        };
        for samples in self.series.values() {
            if let (Some(first), Some(last)) = (samples.front(), samples.back()) {
                sum.value += last.value - first.value;
                sum.count += last.count - first.count;
            }
        }
        sum
    }
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
