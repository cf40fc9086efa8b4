//! `/try/{trace_id}`: what was sent, what was answered, and what has arrived of its trace.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::{HEAD, TracePath, see_other, stored, unknown};
use crate::gateway::{Arrival, Ask, Gateway, Outcome, Sent, Subject, arrival};
use crate::pages::format;
use crate::pages::hue::hue;
use crate::pages::shell::{self, Head};
use crate::store::TelemetryStore;
use crate::trace::{SpanData, Trace};

/// Spans that are drawn while a trace arrives; the trace's own page has all of them.
const MAX_ROWS: usize = 200;
/// The shortest bar, as a part of the drawing.
const MIN_PART: f64 = 0.005;

pub(super) async fn page(
    State(gateway): State<Option<Gateway>>,
    State(store): State<Arc<TelemetryStore>>,
    Path(trace_id): TracePath,
) -> Response {
    let sent = gateway.and_then(|gateway| gateway.sent(&trace_id));
    let trace = stored(store, trace_id.clone()).await;
    let Some(sent) = sent else {
        // Sent long ago, or by somebody else.
        return match trace {
            Some(_) => see_other(&format!("/traces/{trace_id}")),
            None => unknown(&trace_id),
        };
    };
    let state = arrival(trace.as_ref(), &sent);
    let head = Head { live: true, ..HEAD };
    let content = html! {
        p.back { a href="/try" { "← Another request" } }
        h1 { (title(&sent.ask)) }
        p.facts { (facts(&sent)) }
        div #arrival data-live {
            (answer(sent.outcome.as_ref()))
            (progress(&state, trace.as_ref(), &sent))
            @if let Some(trace) = &trace { (waterfall(trace)) }
        }
    };
    shell::page(&head, &content).into_response()
}

fn title(ask: &Ask) -> String {
    match &ask.subject {
        Subject::Entity(id) => format!("{} of {id}", ask.model),
        Subject::Text(_) => format!("{} of a text", ask.model),
    }
}

fn facts(sent: &Sent) -> Markup {
    let ask = &sent.ask;
    html! {
        code { (sent.trace_id) }
        @if let Subject::Text(text) = &ask.subject { span.quoted { "“" (text) "”" } }
        @if let Some(variant) = &ask.variant { span { "variant " strong { (variant) } } }
        @if let Some(directive) = ask.cache.directive() { span { "Cache-Control: " strong { (directive) } } }
        @if let Some(fault) = &ask.fault { span { "fault " strong { (fault.text()) } } }
        @if let Some(original) = &sent.replay_of {
            span { "sent again from " a.mono href=(format!("/traces/{original}")) { (original.get(..8).unwrap_or_default()) } }
        }
    }
}

fn answer(outcome: Option<&Outcome>) -> Markup {
    match outcome {
        None => html! { p.notice { "The gateway has not answered yet." } },
        Some(Outcome::NoAnswer(words)) => html! { p.notice.bad { (words) } },
        Some(Outcome::Refused(refused)) => html! {
            p.notice.bad {
                "The gateway answered " (refused.status) " after " (format::duration(nanoseconds(refused.took))) ": " (refused.words)
            }
        },
        Some(Outcome::Predicted(predicted)) => html! {
            dl.answer {
                div { dt { "Prediction" } dd { strong { (predicted.label) }
                    @if let Some(confidence) = predicted.confidence { (format!(", confidence {confidence:.3}")) }
                } }
                div { dt { "Answered by" } dd { "variant " (predicted.variant) ", version " (predicted.version) } }
                div { dt { "From" } dd { @if predicted.cached { "the prediction store" } @else { "the model" } } }
                div { dt { "After" } dd { (format::duration(nanoseconds(predicted.took))) } }
                div { dt { "Cache-Status" } dd { code { (predicted.cache_status) } } }
                div { dt { "Server-Timing" } dd { code { (predicted.server_timing) } } }
            }
        },
    }
}

fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The state in words. `data-arriving` makes the script look again soon.
fn progress(state: &Arrival, trace: Option<&Trace>, sent: &Sent) -> Markup {
    let spans = format::count(trace.map_or(0, |trace| trace.spans.len()), "span");
    let own = format!("/try/{}", sent.trace_id);
    let page = format!("/traces/{}", sent.trace_id);
    html! {
        @match state {
            Arrival::Running => p.arrival.partial role="status" data-arriving {
                "⚠ Arriving: " (spans) " so far, and the request is still on its way. " (again(&own))
            },
            Arrival::Arriving(missing) => p.arrival.partial role="status" data-arriving {
                "⚠ Arriving: " (spans) " so far. Still to come: " (missing.join("; ")) ". " (again(&own))
            },
            Arrival::Late(missing) => p.arrival.partial role="status" {
                "⚠ Not whole: " (spans) ". These did not come within fifteen seconds, and may never: " (missing.join("; "))
                ". " (again(&own))
            },
            Arrival::NoTrace => p.arrival.partial role="status" {
                "⚠ There is no trace: the gateway named none in its answer (" code { "traceresponse" } ")."
            },
            Arrival::Whole => {
                p.arrival role="status" { "✓ The trace is whole: " (spans) "." }
                p.next {
                    a href=(page) { "Open the trace" }
                    @if let Some(original) = &sent.replay_of {
                        " · " a href=(comparison(original, &sent.trace_id)) { "Compare with the original" }
                    } @else {
                        " · " a href=(format!("{page}/replay")) { "Send it again, another way" }
                    }
                }
            },
        }
    }
}

/// Without a script.
fn again(own: &str) -> Markup {
    html! { a href=(own) { "Look again" } }
}

pub(super) fn comparison(original: &str, replay: &str) -> String {
    format!("/compare?a={original}&b={replay}")
}

fn waterfall(trace: &Trace) -> Markup {
    let more = trace.spans.len().saturating_sub(MAX_ROWS);
    html! {
        div.pane { table.waterfall {
            caption.hidden { "Spans that have arrived" }
            thead { tr {
                th scope="col" { "Span" }
                th scope="col" { "Service" }
                th scope="col" .time { "Time" }
                th scope="col" .num { "Duration" }
            } }
            tbody { @for span in trace.spans.iter().take(MAX_ROWS) { (row(trace, span)) } }
        } }
        @if more > 0 { p.hint { "and " (format::count(more, "more span")) } }
    }
}

fn row(trace: &Trace, span: &SpanData) -> Markup {
    let whole = trace.duration().max(1) as f64;
    // A bar that can be seen, within the drawing.
    let part = (span.duration() as f64 / whole).max(MIN_PART);
    let from = (span.start.saturating_sub(trace.start()) as f64 / whole).min(1.0 - MIN_PART);
    let (from, part) = (format::percent(from), format::percent(part));
    html! {
        tr.failed[span.is_error()] {
            td { span.span {
                svg width=(span.depth.min(20) * 16) height="1" aria-hidden="true" {}
                span.dot.(hue(&span.service)) {}
                (span.name)
                @if span.is_error() { span.mark.bad { "✗ error" } }
            } }
            td.service { (span.service) }
            td { svg.lane.(hue(&span.service)) aria-hidden="true" {
                rect.bar x=(from) width=(part) y="3" height="11" rx="2" {}
            } }
            td.num { (format::duration(span.duration())) }
        }
    }
}
