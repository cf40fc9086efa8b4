//! What the page shows, read from the store once.

use std::collections::HashMap;
use std::mem;
use std::time::Duration;

use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::api::LogEntry;
use crate::critical_path::{Segment, critical_path};
use crate::links::{self, Links};
use crate::pages::trace::within;
use crate::remarks::remarks;
use crate::self_time;
use crate::store::{TelemetryStore, TraceId};
use crate::trace::{SpanData, Trace};

/// Rows of one page; the others are on the next.
pub(super) const MAX_ROWS: usize = 400;
/// Log records of one page.
pub(super) const MAX_LOGS: usize = 200;
/// A trace that something arrived of within this time may still grow: every process exports on its
/// own schedule.
const QUIET: Duration = Duration::from_secs(1);
/// A trace that is not whole is expected to become it for so long.
const PATIENCE: Duration = Duration::from_secs(15);

/// How much of the trace is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pages) enum Arrival {
    /// Spans may still be on their way.
    Arriving,
    Whole,
    /// Spans are missing, and none has come for a while.
    Incomplete,
}

impl Arrival {
    pub(in crate::pages) fn of(store: &TelemetryStore, id: TraceId, trace: &Trace) -> Arrival {
        let since = store.traces.since_arrival(id).unwrap_or(Duration::MAX);
        match trace.is_complete() {
            _ if since < QUIET => Arrival::Arriving,
            true => Arrival::Whole,
            false if since < PATIENCE => Arrival::Arriving,
            false => Arrival::Incomplete,
        }
    }
}

pub(super) struct View {
    pub trace: Trace,
    pub arrival: Arrival,
    pub remarks: Vec<String>,
    pub segments: Vec<Segment>,
    /// Nanoseconds on the critical path, and without a child, of each span.
    pub critical: Vec<u64>,
    pub own_time: Vec<u64>,
    pub parents: Vec<Option<usize>>,
    /// Whether a sibling follows, for the lines of the tree.
    pub followed: Vec<bool>,
    pub links: Links,
    pub logs: Vec<Log>,
    /// Records that are not among `logs`.
    pub more_logs: usize,
    /// The span whose details are shown.
    pub chosen: usize,
    /// The rows that are shown.
    pub rows: std::ops::Range<usize>,
    /// Of the whole trace, in nanoseconds since 1970; looked up once, since finding it reads every span.
    start: u64,
    /// Nanoseconds, at least 1.
    duration: u64,
}

/// A log record of the trace.
pub(super) struct Log {
    /// Nanoseconds since 1970.
    pub time: u64,
    pub entry: LogEntry,
    /// The span that it belongs to.
    pub span: Option<usize>,
}

impl View {
    pub(super) fn read(store: &TelemetryStore, id: TraceId, asked: Option<&str>) -> Option<View> {
        let trace = Trace::from_resource_spans(store.traces.get(id)?).ok()?;
        let mut by_id = HashMap::new();
        for (at, span) in trace.spans.iter().enumerate() {
            by_id.entry(span.span_id.clone()).or_insert(at);
        }
        let asked = asked.map(str::to_ascii_lowercase);
        let chosen = asked.and_then(|id| by_id.get(&id).copied());
        let chosen = chosen.unwrap_or_else(|| most_interesting(&trace));
        let first = chosen / MAX_ROWS * MAX_ROWS;
        let segments = critical_path(&trace);
        let mut critical = vec![0; trace.spans.len()];
        for segment in &segments {
            critical[segment.span] += segment.duration();
        }
        let (logs, more_logs) = logs(store, id, &by_id);
        Some(View {
            arrival: Arrival::of(store, id, &trace),
            remarks: remarks(&trace),
            critical,
            segments,
            own_time: self_time::self_times(&trace),
            parents: trace.parent_indices(),
            followed: followed(&trace),
            links: links::links(&store.traces, id, &trace),
            logs,
            more_logs,
            chosen,
            rows: first..(first + MAX_ROWS).min(trace.spans.len()),
            start: trace.start(),
            duration: trace.duration().max(1),
            trace,
        })
    }

    pub(super) fn title(&self) -> String {
        let name = self.trace.spans.first().map_or("", |span| &span.name);
        within(if name.is_empty() { "(no name)" } else { name }, 200)
    }

    pub(super) fn span(&self) -> &SpanData {
        &self.trace.spans[self.chosen]
    }

    pub(super) fn chosen_is_not(&self, asked: &str) -> bool {
        !self.span().span_id.eq_ignore_ascii_case(asked)
    }

    pub(super) fn address(&self, span: usize) -> String {
        span_address(&self.trace.trace_id, &self.trace.spans[span].span_id)
    }

    /// A moment or a length as a part of the trace.
    pub(super) fn part(&self, nanos: u64) -> f64 {
        nanos as f64 / self.duration as f64
    }

    /// Nanoseconds since the trace began.
    pub(super) fn offset(&self, time: u64) -> u64 {
        time.saturating_sub(self.start)
    }

    /// The ids of the spans on the critical path in the order of time, for the key that goes along
    /// it.
    pub(super) fn path_ids(&self) -> String {
        let ids = self.segments.iter().take(MAX_ROWS);
        let ids: Vec<&str> = ids
            .map(|segment| self.trace.spans[segment.span].span_id.as_str())
            .collect();
        ids.join(" ")
    }
}

pub(in crate::pages) fn span_address(trace_id: &str, span_id: &str) -> String {
    format!("/traces/{trace_id}/{span_id}")
}

/// The deepest error is where it began; the spans above it only pass it on.
fn most_interesting(trace: &Trace) -> usize {
    let failed = trace.spans.iter().enumerate().rev();
    let failed = failed.filter(|(_, span)| span.is_error());
    failed
        .max_by_key(|(_, span)| span.depth)
        .map_or(0, |(at, _)| at)
}

fn followed(trace: &Trace) -> Vec<bool> {
    let mut followed = vec![false; trace.spans.len()];
    // Read backwards, a level is open from its last child up to the parent.
    let mut open: Vec<bool> = Vec::new();
    for (at, span) in trace.spans.iter().enumerate().rev() {
        open.resize(span.depth + 1, false);
        followed[at] = mem::replace(&mut open[span.depth], true);
    }
    followed
}

/// The oldest records of the trace, and how many there are beside them.
fn logs(store: &TelemetryStore, id: TraceId, by_id: &HashMap<String, usize>) -> (Vec<Log>, usize) {
    let mut found = store.logs.newest_first();
    found.retain(|log| log.trace_id == Some(id));
    let more = found.len().saturating_sub(MAX_LOGS);
    let oldest = found.iter().rev().take(MAX_LOGS);
    let mut logs: Vec<Log> = oldest
        .map(|log| {
            let entry = LogEntry::from(&**log);
            let span = entry.span_id.as_ref().and_then(|id| by_id.get(id).copied());
            let time = time(&log.record());
            Log { time, entry, span }
        })
        .collect();
    logs.sort_by_key(|log| log.time);
    (logs, more)
}

fn time(record: &LogRecord) -> u64 {
    match record.time_unix_nano {
        0 => record.observed_time_unix_nano,
        time => time,
    }
}
