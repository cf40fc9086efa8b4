//! Whether the trace of a request that was sent from here has arrived whole.
//!
//! Every process exports on its own schedule, so what has arrived of a trace may look whole when it
//! is not: the model service's spans alone are a tree with one root, and so are the gateway's.
//! Three things are known: the parent of the gateway's span, the span that computed the prediction,
//! and that whoever was called over HTTP has a span, too.

use std::time::Duration;

use super::Sent;
use super::answer::Outcome;
use crate::trace::{SpanData, SpanKind, Trace};

/// How long after the answer a span may take. The SDKs export every five seconds by default
/// (OpenTelemetry's batch processor), and some parts are slow to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// How far a trace has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The gateway has not answered.
    Running,
    /// These are still to come.
    Arriving(Vec<String>),
    Whole,
    /// These did not come in time; they may never come.
    Late(Vec<String>),
    /// The gateway sent no trace at all.
    NoTrace,
}

/// How far the trace of `sent` has arrived.
pub(crate) fn arrival(trace: Option<&Trace>, sent: &Sent) -> Arrival {
    let Some(outcome) = &sent.outcome else {
        return Arrival::Running;
    };
    let missing = missing(trace, sent);
    match missing.is_empty() {
        true => Arrival::Whole,
        false if trace.is_none() && !outcome.is_traced() => Arrival::NoTrace,
        false if sent.since.elapsed() > PATIENCE => Arrival::Late(missing),
        false => Arrival::Arriving(missing),
    }
}

fn missing(trace: Option<&Trace>, sent: &Sent) -> Vec<String> {
    let spans = trace.map_or(&[][..], |trace| &trace.spans);
    let mut missing = Vec::new();
    if !spans
        .iter()
        .any(|span| span.parent.as_deref() == Some(&sent.caller))
    {
        missing.push("the gateway's span, the root".to_owned());
    }
    if let Some(Outcome::Predicted(predicted)) = &sent.outcome
        && let Some((trace_id, span_id)) = &predicted.computed_by
        && *trace_id == sent.trace_id
        && !spans.iter().any(|span| span.span_id == *span_id)
    {
        missing.push("the span that computed the prediction".to_owned());
    }
    let unanswered = spans.iter().filter(|span| is_http_call(span));
    let unanswered = unanswered.filter(|call| {
        !spans
            .iter()
            .any(|span| span.parent.as_deref() == Some(&call.span_id))
    });
    missing.extend(unanswered.map(|call| {
        format!(
            "the other side of {} {}, called by {}",
            call.name,
            to(call),
            call.service
        )
    }));
    let orphans = trace.map_or(0, |trace| trace.orphans().count());
    if missing.is_empty() && orphans > 0 {
        missing.push(format!("the parents of {orphans} spans"));
    }
    missing
}

/// A call of one of our services; calls of databases have no other side.
fn is_http_call(span: &SpanData) -> bool {
    span.kind == SpanKind::Client
        && span.attributes.contains_key("http.request.method")
        && !span.attributes.contains_key("db.system.name")
}

fn to(call: &SpanData) -> String {
    call.text("url.full").unwrap_or_default()
}
