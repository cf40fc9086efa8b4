//! What of a trace is compared: attributes of requests, predictions, inputs and resources, where an
//! error began, exceptions and links.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Class;
use super::table::{Row, Side, Table};
use crate::attribute;
use crate::span_view::{self, SpanView};
use crate::store::logs::LogStore;
use crate::store::traces::{StoredSpan, TraceOutline};
use crate::store::{Source, SpanId, TraceId};

/// `SPAN_KIND_SERVER` of opentelemetry-proto.
const SERVER: u64 = 2;
/// `SEVERITY_NUMBER_ERROR`, the lowest of the log records of exceptions.
const ERROR: i32 = 17;
/// Attributes that say what came of a request, not what was asked.
const OUTCOMES: [&str; 6] = [
    "error.",
    "exception.",
    "http.response.",
    "ml.output.",
    "ml.drift_detected",
    "ml.variant.failed",
];

/// Dimensions of the table, each with a value.
type Values = Vec<(usize, String)>;

pub(super) struct Observer {
    table: Table,
    row: Row,
    /// What each source adds to a trace.
    sources: Vec<(Arc<Source>, Values)>,
    /// Service and type of the exceptions that were logged in a trace.
    exceptions: HashMap<TraceId, Vec<(String, String)>>,
}

impl Observer {
    pub(super) fn new(logs: &LogStore, traces: &[TraceOutline]) -> Observer {
        Observer {
            table: Table::default(),
            row: Row::default(),
            sources: Vec::new(),
            exceptions: exceptions(logs, traces),
        }
    }

    pub(super) fn finish(self) -> Table {
        self.table
    }

    /// Counts one trace. One that was evicted in the meantime has no spans and does not count.
    pub(super) fn add(&mut self, id: TraceId, spans: &[(SpanId, StoredSpan)], selected: bool) {
        if spans.is_empty() {
            return;
        }
        let mut sources: Vec<*const Source> = Vec::new();
        for (_, span) in spans {
            let source = Arc::as_ptr(&span.source);
            if !sources.contains(&source) {
                sources.push(source);
                self.add_source(&span.source);
            }
            self.add_span(span);
        }
        self.add_error(spans);
        for (service, kind) in self.exceptions.remove(&id).unwrap_or_default() {
            self.text(Class::Outcome, &service, "exception", &kind);
        }
        let side = if selected { Side::Selected } else { Side::Rest };
        self.table.add(&mut self.row, side);
    }

    fn add_source(&mut self, source: &Arc<Source>) {
        let known = self
            .sources
            .iter()
            .position(|(known, _)| Arc::ptr_eq(known, source));
        let at = known.unwrap_or_else(|| {
            let values = self.resource(source);
            self.sources.push((Arc::clone(source), values));
            self.sources.len() - 1
        });
        for (dimension, text) in &self.sources[at].1 {
            self.row.text(*dimension, text);
        }
    }

    fn resource(&mut self, source: &Source) -> Values {
        let resource = source.resource();
        let origin = format!("resource of {}", source.service);
        let values = resource.attributes.iter().map(span_view::of_attribute);
        let mut found = Vec::new();
        for (key, value) in values.filter(|(key, _)| *key != "service.name") {
            let at = self.table.dimension(Class::Resource, &origin, key);
            found.extend(at.map(|at| (at, value.text().into_owned())));
        }
        found
    }

    fn add_span(&mut self, span: &StoredSpan) {
        let view = SpanView(&span.bytes);
        let outline = view.outline();
        let predicts = outline.name.starts_with("predict ");
        let origin = if outline.kind == SERVER {
            Some(span.source.service.as_str())
        } else {
            predicts.then_some("predict")
        };
        for (key, value) in view.attributes() {
            // Inputs are attributes of the stage that reads them.
            let origin = origin.or_else(|| key.starts_with("ml.input.").then_some(outline.name));
            let Some(origin) = origin else { continue };
            if let Some(at) = self.table.dimension(class(&key), origin, &key) {
                self.row.value(at, &value);
            }
        }
        if let (Some(origin), true) = (origin, outline.links > 0) {
            self.text(Class::Presence, origin, "link", "to another span");
        }
        for event in view.events().filter(|event| event.name() == "exception") {
            let kind = event.attributes().find(|(key, _)| key == "exception.type");
            let kind = kind.map_or("unknown".into(), |(_, value)| value.text().into_owned());
            self.text(Class::Outcome, &span.source.service, "exception", &kind);
        }
    }

    /// An error passes from a callee to its callers: it began in the failed spans of which no child
    /// failed.
    fn add_error(&mut self, spans: &[(SpanId, StoredSpan)]) {
        let failed = || spans.iter().filter(|(_, span)| span.fields.error);
        let parents: HashSet<SpanId> = failed()
            .filter_map(|(_, span)| span.fields.parent)
            .collect();
        for (_, span) in failed().filter(|(id, _)| !parents.contains(id)) {
            let name = SpanView(&span.bytes).outline().name;
            let place = format!("{} {name}", span.source.service);
            self.text(Class::Error, "trace", "error began in", &place);
        }
    }

    fn text(&mut self, class: Class, origin: &str, name: &str, text: &str) {
        if let Some(at) = self.table.dimension(class, origin, name) {
            self.row.text(at, text);
        }
    }
}

fn class(key: &str) -> Class {
    if OUTCOMES.iter().any(|outcome| key.starts_with(outcome)) {
        Class::Outcome
    } else if key.starts_with("ml.") {
        Class::Model
    } else {
        Class::Request
    }
}

/// The exceptions that services log instead of adding an event to a span, as the conventions now
/// ask.
fn exceptions(logs: &LogStore, traces: &[TraceOutline]) -> HashMap<TraceId, Vec<(String, String)>> {
    let traces: HashSet<TraceId> = traces.iter().map(|trace| trace.id).collect();
    let mut found: HashMap<TraceId, Vec<(String, String)>> = HashMap::new();
    for log in logs.newest_first() {
        let trace_id = log
            .trace_id
            .filter(|id| log.severity >= ERROR && traces.contains(id));
        let Some(trace_id) = trace_id else { continue };
        if let Some(kind) = attribute::text(&log.record().attributes, "exception.type") {
            let exception = (log.source.service.clone(), kind.to_owned());
            found.entry(trace_id).or_default().push(exception);
        }
    }
    found
}
