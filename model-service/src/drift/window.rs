//! A window of rows while it fills, and its scores when it is full.

use jiff::Timestamp;
use telemetry::TraceId;

use super::reference::{Column, Reference};
use super::score::{Method, Score};
use super::{Inputs, Outputs};

/// What a request asked and was answered.
#[derive(Debug)]
pub(super) struct Observation {
    inputs: Inputs,
    outputs: Outputs,
    /// `None` if its trace is not recorded.
    trace_id: Option<TraceId>,
}

/// Rows in the order of their requests. A request is never divided, so that a window may have more
/// rows than it needs.
#[derive(Debug, Default)]
pub(super) struct Window {
    observations: Vec<Observation>,
    complete: usize,
    rows: usize,
    first_at: Timestamp,
}

/// Traces that an alarm shows.
const EXAMPLES: usize = 5;

impl Observation {
    pub(super) fn new(inputs: Inputs, outputs: Outputs) -> Self {
        let span = telemetry::current().span_ref();
        Self {
            inputs,
            outputs,
            trace_id: span.map(|span| span.trace_id),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.inputs.rows
    }

    fn complete_rows(&self) -> usize {
        self.inputs.values.len() / self.inputs.width.max(1)
    }

    /// The values of a feature, or of the output, which is the column after the features.
    fn column(&self, at: usize) -> impl Iterator<Item = f32> {
        let width = self.inputs.width;
        let (values, step) = if at < width {
            (self.inputs.values.get(at..).unwrap_or_default(), width)
        } else {
            (&self.outputs.values[..], 1)
        };
        values.iter().copied().step_by(step)
    }

    fn missing(&self, at: usize) -> u64 {
        self.inputs.missing.get(at).copied().unwrap_or(0)
    }
}

impl Window {
    pub(super) fn push(&mut self, observation: Observation) {
        if self.observations.is_empty() {
            self.first_at = Timestamp::now();
        }
        self.complete += observation.complete_rows();
        self.rows += observation.rows();
        self.observations.push(observation);
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn first_at(&self) -> Timestamp {
        self.first_at
    }

    /// Whether there are enough rows with all their values, or twice as many rows at all.
    pub(super) fn is_full(&self, rows: usize) -> bool {
        self.complete >= rows || self.rows >= 2 * rows
    }

    /// Distributions are compared only if half of the rows have one: fewer say nothing about it.
    pub(super) fn scores(&self, reference: &Reference) -> Vec<Score> {
        let mut scores = Vec::new();
        let enough = |counts: &[usize]| 2 * counts.iter().sum::<usize>() >= self.rows;
        for (at, column) in reference.columns.iter().enumerate() {
            let counts = self.counts(at, column);
            if enough(&counts) {
                scores.extend(column.distribution(&counts, reference.alpha));
            }
            if column.can_miss {
                let missing = self.observations.iter().map(|seen| seen.missing(at)).sum();
                scores.push(column.missing(missing, self.rows, reference.alpha));
            }
        }
        let counts = self.label_counts(reference);
        if enough(&counts) {
            scores.extend(reference.labels.distribution(&counts));
        }
        scores
    }

    /// The traces of requests that show what `score` measured.
    pub(super) fn examples(&self, reference: &Reference, score: &Score) -> Vec<String> {
        let at = reference
            .columns
            .iter()
            .position(|column| column.name == score.feature);
        let shows: Box<dyn Fn(&Observation) -> bool> = match at {
            Some(at) if score.method == Method::MissingShare => {
                Box::new(move |seen| seen.missing(at) > 0)
            }
            Some(at) => {
                let column = &reference.columns[at];
                let grown = column.grown_bins(&self.counts(at, column), score.method);
                Box::new(move |seen| seen.column(at).any(|value| grown[column.bin(value)]))
            }
            None => {
                let labels = &reference.labels.shares;
                let grown = most_grown(labels, &shares(&self.label_counts(reference)));
                Box::new(move |seen| seen.outputs.classes.contains(&grown))
            }
        };
        let examples = self.observations.iter().filter(|seen| shows(seen));
        let mut traces: Vec<TraceId> = Vec::new();
        for trace in examples.filter_map(|seen| seen.trace_id) {
            if traces.len() < EXAMPLES && !traces.contains(&trace) {
                traces.push(trace);
            }
        }
        traces.iter().map(TraceId::to_string).collect()
    }

    fn counts(&self, at: usize, column: &Column) -> Vec<usize> {
        let mut counts = vec![0; column.shares.len()];
        for value in self.observations.iter().flat_map(|seen| seen.column(at)) {
            counts[column.bin(value)] += 1;
        }
        counts
    }

    fn label_counts(&self, reference: &Reference) -> Vec<usize> {
        let mut counts = vec![0; reference.labels.shares.len()];
        for class in self
            .observations
            .iter()
            .flat_map(|seen| &seen.outputs.classes)
        {
            counts[*class] += 1;
        }
        counts
    }
}

impl Column {
    /// For each bin whether its values show the drift: those beyond the range, or those of the bin
    /// that has grown most.
    fn grown_bins(&self, counts: &[usize], method: Method) -> Vec<bool> {
        let bins = 0..counts.len();
        if method == Method::OutOfRangeShare {
            return bins.map(|bin| self.is_outside(bin)).collect();
        }
        let seen = self.join_shares(&shares(counts));
        let grown = most_grown(&self.join_shares(&self.shares), &seen);
        bins.map(|bin| self.joined_bin(bin) == grown).collect()
    }
}

fn shares(counts: &[usize]) -> Vec<f64> {
    let all = counts.iter().sum::<usize>().max(1) as f64;
    counts.iter().map(|count| *count as f64 / all).collect()
}

fn most_grown(reference: &[f64], seen: &[f64]) -> usize {
    let growth = reference.iter().zip(seen).map(|(before, now)| now - before);
    let most = growth
        .enumerate()
        .max_by(|(_, one), (_, other)| one.total_cmp(other));
    most.map_or(0, |(at, _)| at)
}
