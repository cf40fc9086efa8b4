//! What a step leaves in the explorer, and how far the reader's own telemetry is from it.

use explorer::Trace;
use explorer::trace::{SpanData, SpanStatus};
use serde::Deserialize;

/// A span as the step makes it. In pages it is the JSON of a comment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expectation {
    /// Its name; `*` at the end stands for anything.
    span: String,
    /// `service.name` of its process.
    pub(super) service: String,
    /// The service of its parent span.
    parent: Option<String>,
    /// Attributes that it has.
    #[serde(default)]
    attributes: Vec<String>,
    /// Spans somewhere below it, by their names.
    #[serde(default)]
    below: Vec<String>,
    /// Whether it links to another span.
    #[serde(default)]
    link: bool,
    /// Whether it failed.
    #[serde(default)]
    error: bool,
    /// A log record of its trace: its event name, or words of its body.
    pub(super) log: Option<String>,
    /// What to do if it does not come.
    pub(super) hint: String,
}

/// What a trace has of an expectation.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Met,
    /// The span is there, and this is wrong with it.
    Almost(String),
    /// No such span.
    Nothing,
}

impl Expectation {
    /// In a sentence.
    pub(super) fn text(&self) -> String {
        let mut parts = vec![format!("a span `{}` of {}", self.span, self.service)];
        let parent = self.parent.iter();
        parts.extend(parent.map(|parent| format!("whose parent is a span of {parent}")));
        let attributes = self.attributes.iter();
        parts.extend(attributes.map(|name| format!("with {name}")));
        let below = self.below.iter();
        parts.extend(below.map(|name| format!("with `{name}` below it")));
        if self.link {
            parts.push("with a link to another span".to_owned());
        }
        if self.error {
            parts.push("which failed".to_owned());
        }
        let log = self.log.iter();
        parts.extend(log.map(|words| format!("and a log record `{words}` in its trace")));
        parts.join(", ")
    }

    /// The best that any span of the trace has.
    pub(super) fn judge(&self, trace: &Trace) -> Verdict {
        let mut best = Verdict::Nothing;
        for (index, span) in trace.spans.iter().enumerate() {
            if span.service != self.service || !matches(&self.span, &span.name) {
                continue;
            }
            match self.missing(trace, index) {
                None => return Verdict::Met,
                Some(missing) => best = Verdict::Almost(missing),
            }
        }
        best
    }

    /// The first thing that is wrong with the span at `index`.
    fn missing(&self, trace: &Trace, index: usize) -> Option<String> {
        let span = &trace.spans[index];
        if let Some(wrong) = self.wrong_parent(trace, span) {
            return Some(wrong);
        }
        let name = format!("Your span `{}` of {}", span.name, span.service);
        let has = |attribute: &&String| !span.attributes.contains_key(*attribute);
        if let Some(attribute) = self.attributes.iter().find(has) {
            return Some(format!("{name} has no attribute {attribute}."));
        }
        let below = below(trace, index);
        let is_missing = |wanted: &&String| !below.iter().any(|span| matches(wanted, &span.name));
        if let Some(wanted) = self.below.iter().find(is_missing) {
            return Some(format!("{name} has no span `{wanted}` below it."));
        }
        if self.link && span.links.is_empty() {
            return Some(format!("{name} has no link to another span."));
        }
        if self.error && !matches!(span.status, SpanStatus::Error(_)) {
            return Some(format!("{name} did not fail."));
        }
        None
    }

    fn wrong_parent(&self, trace: &Trace, span: &SpanData) -> Option<String> {
        let wanted = self.parent.as_ref()?;
        let name = format!("Your span `{}` of {}", span.name, span.service);
        let parent = span.parent.as_ref();
        let parent = parent.and_then(|id| trace.spans.iter().find(|other| other.span_id == *id));
        match (&span.parent, parent) {
            (_, Some(parent)) if parent.service == *wanted => None,
            (_, Some(parent)) => Some(format!(
                "The parent of {} is a span of {}, not of {wanted}.",
                lower(&name),
                parent.service
            )),
            (None, None) => Some(format!(
                "{name} has no parent: {wanted} did not send the header traceparent, or nobody read it."
            )),
            (Some(_), None) => Some(format!(
                "{name} names a parent that is not in the trace: {wanted} sent traceparent, but its own span did not arrive."
            )),
        }
    }
}

/// The spans below the one at `index`: they follow it, each deeper than it.
fn below(trace: &Trace, index: usize) -> &[SpanData] {
    let rest = &trace.spans[index + 1..];
    let depth = trace.spans[index].depth;
    let end = rest.iter().position(|span| span.depth <= depth);
    &rest[..end.unwrap_or(rest.len())]
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

fn lower(sentence: &str) -> String {
    sentence.replacen("Your", "your", 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expectation(json: &str) -> Expectation {
        serde_json::from_str(json).expect("an expectation")
    }

    /// A trace of a gateway's client span and a worker's server span, whose parent is `parent`.
    fn trace(parent: &str) -> Trace {
        let span = |service: &str, id: &str, parent: &str, name: &str| {
            json!({
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                "scopeSpans": [{"spans": [{
                    "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": id, "parentSpanId": parent,
                    "name": name, "kind": 2, "startTimeUnixNano": "1", "endTimeUnixNano": "2",
                    "attributes": [{"key": "ml.run_id", "value": {"stringValue": "a"}}],
                }]}],
            })
        };
        let document = json!({"resourceSpans": [
            span("gateway", "00000000000000a1", "", "POST"),
            span("worker", "00000000000000b1", parent, "POST /infer"),
        ]});
        let bytes = serde_json::to_vec(&document).expect("JSON");
        Trace::from_otlp_pages([&bytes[..]]).expect("a trace")
    }

    #[test]
    fn the_reader_learns_what_is_wrong_with_the_parent() {
        let wanted = expectation(
            r#"{"span": "POST /*", "service": "worker", "parent": "gateway", "attributes": ["ml.run_id"], "hint": ""}"#,
        );
        assert_eq!(wanted.judge(&trace("00000000000000a1")), Verdict::Met);
        let Verdict::Almost(said) = wanted.judge(&trace("")) else {
            panic!("a root is not a child");
        };
        assert!(
            said.contains("has no parent: gateway did not send the header traceparent"),
            "{said}"
        );
        let Verdict::Almost(said) = wanted.judge(&trace("00000000000000ff")) else {
            panic!("an orphan is not a child");
        };
        assert!(said.contains("its own span did not arrive"), "{said}");
    }

    #[test]
    fn everything_that_is_expected_must_be_there() {
        let trace = trace("00000000000000a1");
        for (json, said) in [
            (
                r#"{"span": "POST", "service": "gateway", "below": ["POST /infer"], "hint": ""}"#,
                "",
            ),
            (
                r#"{"span": "POST", "service": "gateway", "below": ["GET"], "hint": ""}"#,
                "no span `GET` below",
            ),
            (
                r#"{"span": "POST", "service": "gateway", "attributes": ["ml.variant"], "hint": ""}"#,
                "no attribute ml.variant",
            ),
            (
                r#"{"span": "POST", "service": "gateway", "link": true, "hint": ""}"#,
                "no link",
            ),
            (
                r#"{"span": "POST", "service": "gateway", "error": true, "hint": ""}"#,
                "did not fail",
            ),
        ] {
            match expectation(json).judge(&trace) {
                Verdict::Met => assert_eq!(said, "", "{json}"),
                Verdict::Almost(missing) => {
                    assert!(!said.is_empty() && missing.contains(said), "{missing}");
                }
                Verdict::Nothing => panic!("{json} finds no span"),
            }
        }
        let other = expectation(r#"{"span": "GET", "service": "gateway", "hint": ""}"#);
        assert_eq!(other.judge(&trace), Verdict::Nothing);
    }
}
