//! Reads the store from within the process, without HTTP: for tests that run an explorer beside the
//! code under test.

use std::sync::Arc;

use crate::api::{self, LogEntry, MetricSeries};
use crate::filter::{self, Filter};
use crate::store::TelemetryStore;
use crate::trace::Trace;

/// A handle on the store of one [`Explorer`](crate::Explorer); a clone reads the same store.
#[derive(Clone)]
pub struct Reader {
    store: Arc<TelemetryStore>,
}

impl Reader {
    pub(crate) fn new(store: Arc<TelemetryStore>) -> Reader {
        Reader { store }
    }

    /// The trace with this id (32 hex digits), as far as it has arrived.
    pub fn trace(&self, trace_id: &str) -> Option<Trace> {
        let spans = self.store.traces.get(api::trace_id(trace_id).ok()?)?;
        Trace::from_resource_spans(spans).ok()
    }

    /// All traces, newest first.
    pub fn traces(&self) -> Vec<Trace> {
        let traces = &self.store.traces;
        let all = filter::matching(traces, &Filter::default(), usize::MAX).into_iter();
        all.filter_map(|trace| traces.get(trace.id))
            .filter_map(|spans| Trace::from_resource_spans(spans).ok())
            .collect()
    }

    /// All log records, newest first by arrival.
    pub fn logs(&self) -> Vec<LogEntry> {
        let logs = self.store.logs.newest_first();
        logs.iter()
            .map(|log| LogEntry::with_resource(log))
            .collect()
    }

    /// The names of all metrics, sorted.
    pub fn metric_names(&self) -> Vec<String> {
        self.store.metrics.names().into_keys().collect()
    }

    /// The series of one metric, each with its last data point.
    pub fn metric(&self, name: &str) -> Vec<MetricSeries> {
        let series = self.store.metrics.series(name).into_iter();
        series.map(MetricSeries::from).collect()
    }
}
