//! One span: what happened, its attributes, events, exceptions, links, logs and ids.

use maud::{Markup, html};
use serde_json::Value;

use super::attributes::{Budget, groups, pairs};
use super::logs::{at, level, message};
use super::view::{Log, View};
use super::{copy, links, within};
use crate::pages::format;
use crate::pages::hue::hue;
use crate::place::Place;
use crate::trace::{AttributeMap, SpanData, SpanEvent, SpanStatus};
use crate::tree::SKEW_TOLERANCE_NS;

/// Events and logs of one span that are shown.
const MAX_EVENTS: usize = 50;
/// Characters of a stack.
const LONGEST_STACK: usize = 20_000;

pub(super) fn aside(view: &View) -> Markup {
    let (span, budget) = (view.span(), Budget::new());
    let of_span = |log: &&Log| log.span == Some(view.chosen);
    let logs: Vec<&Log> = view.logs.iter().filter(of_span).collect();
    let exceptions = exceptions(span, &logs);
    let other_logs = logs
        .iter()
        .filter(|log| !log.entry.attributes.contains_key(TYPE));
    let other_logs: Vec<&&Log> = other_logs.collect();
    html! {
        aside.detail #detail tabindex="-1" aria-label="Details of the chosen span" {
            h2 { (within(&span.name, 200)) }
            p.soft { span.dot.(hue(&span.service)) {} (within(&span.service, 80)) " · " (span.kind) }
            (times(view, span))
            @if let SpanStatus::Error(error) = &span.status { p.error-box { "✗ " (budget.plain(&error_text(span, error), 1_000)) } }
            @for exception in &exceptions { (exception.shown(&budget)) }
            (groups(span.attributes.iter(), &budget))
            (events(view, span, &budget))
            (links::of_span(view, span))
            @if !other_logs.is_empty() {
                h3 { "Logs" }
                ul { @for log in other_logs.iter().take(MAX_EVENTS) { (log_item(log, &budget)) } }
                @if other_logs.len() > MAX_EVENTS { p.soft { (other_logs.len() - MAX_EVENTS) " more in the list of the trace" } }
            }
            h3 { "Identity" }
            (identity(view, span))
            (copy::buttons(view, span))
            details {
                summary { "Resource: " (format::count(span.resource.len(), "attribute")) }
                (pairs(span.resource.iter(), &budget))
            }
        }
    }
}

fn times(view: &View, span: &SpanData) -> Markup {
    let critical = view.critical[view.chosen];
    let offset = view.offset(span.start);
    html! {
        p.soft {
            (format::duration(span.duration()))
            @if offset == 0 { ", from the start" } @else { ", starts after " (format::duration(offset)) }
            "; " (format::duration(view.own_time[view.chosen])) " of its own"
            @if critical > 0 { "; " span.path-mark { "◆ " (format::duration(critical)) " on the critical path" } }
        }
        @if let Some(ahead) = view.parents[view.chosen].and_then(|parent| view.trace.spans[parent].start.checked_sub(span.start)).filter(|ahead| *ahead > SKEW_TOLERANCE_NS) {
            p.partial { "⚠ It starts " (format::duration(ahead)) " before its parent: the clocks differ." }
        }
        @if span.end < span.start { p.partial { "⚠ It ends before it starts: the clock was set back." } }
    }
}

fn error_text(span: &SpanData, message: &str) -> String {
    let kind = span.text("error.type").unwrap_or_default();
    match (kind.is_empty(), message.is_empty()) {
        (true, true) => "error".to_owned(),
        (false, true) => kind,
        (true, false) => message.to_owned(),
        (false, false) => format!("{kind}: {message}"),
    }
}

const TYPE: &str = "exception.type";

/// An exception of an event or of a log record (OpenTelemetry semantic conventions, exceptions).
struct Exception<'a> {
    kind: String,
    message: String,
    stack: Option<&'a Value>,
}

fn exceptions<'a>(span: &'a SpanData, logs: &[&'a Log]) -> Vec<Exception<'a>> {
    let events = span.events.iter().map(|event| &event.attributes);
    let of_events = events.filter_map(|attributes| Exception::of(|name| attributes.get(name)));
    let of_logs = logs
        .iter()
        .filter_map(|log| Exception::of(|name| log.entry.attributes.get(name)));
    of_events.chain(of_logs).take(MAX_EVENTS).collect()
}

impl<'a> Exception<'a> {
    fn of(get: impl Fn(&str) -> Option<&'a Value>) -> Option<Exception<'a>> {
        let text = |name| get(name).map(super::value_text).unwrap_or_default();
        get(TYPE).or_else(|| get("exception.message"))?;
        Some(Exception {
            kind: text(TYPE),
            message: text("exception.message"),
            stack: get("exception.stacktrace"),
        })
    }

    fn shown(&self, budget: &Budget) -> Markup {
        html! {
            details.exception open {
                summary { strong { (within(&self.kind, 100)) } " " (budget.plain(&self.message, 500)) }
                @if let Some(stack) = self.stack { pre tabindex="0" { (budget.plain(&super::value_text(stack), LONGEST_STACK)) } }
                @else { p.soft { "It has no stack." } }
            }
        }
    }
}

fn events(view: &View, span: &SpanData, budget: &Budget) -> Markup {
    // An exception is shown above, with its stack.
    let is_other = |event: &&SpanEvent| !event.attributes.contains_key(TYPE);
    let others: Vec<&SpanEvent> = span.events.iter().filter(is_other).collect();
    html! {
        @if !others.is_empty() {
            h3 { "Events" }
            @for event in others.iter().take(MAX_EVENTS) { (event_box(view, event, budget)) }
            @if others.len() > MAX_EVENTS { p.soft { (others.len() - MAX_EVENTS) " more in the OTLP/JSON" } }
        }
    }
}

fn event_box(view: &View, event: &SpanEvent, budget: &Budget) -> Markup {
    let attributes: &AttributeMap = &event.attributes;
    html! {
        details open[(1..5).contains(&attributes.len())] {
            summary { (within(&event.name, 200)) span { "at " (at(view, event.time)) } }
            @if !attributes.is_empty() { (pairs(attributes.iter(), budget)) }
        }
    }
}

fn log_item(log: &Log, budget: &Budget) -> Markup {
    html! {
        li {
            span class=(level(log)) { (within(&log.entry.severity, 12)) } " " (budget.plain(&message(log), 500))
            @if !log.entry.attributes.is_empty() { (pairs(log.entry.attributes.iter(), budget)) }
        }
    }
}

fn identity(view: &View, span: &SpanData) -> Markup {
    let parent = span.parent.as_deref();
    html! {
        table { tbody {
            tr { th scope="row" { "span id" } td { (span.span_id) } }
            tr { th scope="row" { "parent" } td { @match (parent, view.parents[view.chosen]) {
                (None, _) => "none (root)",
                (Some(parent), Some(at)) => {
                    a href=(view.address(at)) { (parent) } " (" (within(&view.trace.spans[at].name, 60)) ")"
                }
                (Some(parent), None) => {
                    (parent) @match span.place {
                        Place::RemoteRoot => " (a caller's, not here)",
                        Place::Cycle => " (its own descendant)",
                        _ => " (not here)",
                    }
                }
            } } }
            @if !span.trace_state.is_empty() { tr { th scope="row" { "tracestate" } td { (within(&span.trace_state, 512)) } } }
        } }
    }
}
