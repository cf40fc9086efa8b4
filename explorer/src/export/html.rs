//! A trace as one HTML file that needs neither the explorer nor a script nor the network.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use crate::critical_path::critical_path;
use crate::remarks::remarks;
use crate::trace::{AttributeMap, SpanData, SpanEvent, SpanLink, SpanStatus, Trace};
use crate::waterfall::text::{clean, duration};

/// The file may be opened anywhere: nothing in it may load or run anything, whatever a trace says.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = include_str!("html.css");
/// Distinct for colour-blind people; see `diagram`.
const HUES: usize = 6;

/// The whole file.
pub fn html(trace: &Trace) -> String {
    let title = trace.spans.first().map_or("trace", |span| &span.name);
    let on_path = on_path(trace);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (clean(title)) " · trace " (trace.trace_id) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (clean(title)) }
                p { code { (trace.trace_id) } " · " (duration(trace.duration())) " · " (trace.spans.len()) " spans" }
                @for remark in remarks(trace) { p .remark { "⚠ " (clean(&remark)) } }
                (waterfall(trace, &on_path))
                h2 { "Spans" }
                @let start = trace.start();
                @for (at, span) in trace.spans.iter().enumerate() { (details(start, at, span)) }
            }
        }
    }
    .into_string()
}

/// Whether each span is on the critical path.
fn on_path(trace: &Trace) -> Vec<bool> {
    let mut on_path = vec![false; trace.spans.len()];
    for segment in critical_path(trace) {
        on_path[segment.span] = true;
    }
    on_path
}

fn waterfall(trace: &Trace, on_path: &[bool]) -> Markup {
    let services = trace.services();
    let hue = |span: &SpanData| {
        let at = services.iter().position(|service| *service == span.service);
        format!("hue-{}", at.unwrap_or_default() % HUES)
    };
    let (start, total) = (trace.start(), trace.duration().max(1) as f64);
    let percent = |nanos: u64| format!("{:.3}%", nanos as f64 / total * 100.0);
    html! {
        table {
            caption { "Spans in the order of the call tree; ◆ is on the critical path." }
            thead { tr { th { "Span" } th { "Service" } th .time { "Time" } th { "Duration" } } }
            tbody {
                @for (at, span) in trace.spans.iter().enumerate() {
                    tr {
                        td style=(format!("padding-left: {}px", 8 + 14 * span.depth.min(20))) {
                            a href=(format!("#span-{at}")) { (clean(&span.name)) }
                            @if on_path[at] { span .path title="on the critical path" { " ◆" } }
                            @if span.is_error() { span .bad { " ✗ error" } }
                        }
                        td { (clean(&span.service)) }
                        td {
                            svg width="100%" height="14" role="img" aria-label=(format!("{} after {}", duration(span.duration()), duration(span.start - start))) {
                                rect .(hue(span)) x=(percent(span.start - start)) y="2" width=(percent(span.duration())) height="10" {}
                            }
                        }
                        td .num { (duration(span.duration())) }
                    }
                }
            }
        }
    }
}

fn details(start: u64, at: usize, span: &SpanData) -> Markup {
    html! {
        details #(format!("span-{at}")) open[at == 0 || span.is_error()] {
            summary { (clean(&span.name)) span { " " (clean(&span.service)) " · " (span.kind) " · " (duration(span.duration())) } }
            @if let SpanStatus::Error(message) = &span.status { p .bad { "✗ " (clean(message)) } }
            (pairs("Attributes", &span.attributes))
            @for event in &span.events { (event_of(start, event)) }
            @for link in &span.links { (link_of(link)) }
            p .ids { "span " code { (span.span_id) } @if let Some(parent) = &span.parent { ", parent " code { (parent) } } }
            (pairs("Resource", &span.resource))
        }
    }
}

fn event_of(start: u64, event: &SpanEvent) -> Markup {
    let at = duration(event.time.saturating_sub(start));
    pairs(&format!("Event {} at {at}", event.name), &event.attributes)
}

fn link_of(link: &SpanLink) -> Markup {
    let title = format!("Link to span {} of trace {}", link.span_id, link.trace_id);
    pairs(&title, &link.attributes)
}

fn pairs(title: &str, attributes: &AttributeMap) -> Markup {
    html! {
        h3 { (clean(title)) }
        table .pairs {
            @for (key, value) in attributes {
                tr { th scope="row" { (key) } td { (text(value)) } }
            }
        }
    }
}

/// Line breaks stay: a value may be a stack.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::html;
    use crate::trace::SpanStatus;
    use crate::waterfall::example;

    #[test]
    fn the_file_has_every_span_and_needs_nothing_else() {
        let trace = example::miss();
        let file = html(&trace);
        for (at, span) in trace.spans.iter().enumerate() {
            assert!(
                file.contains(&format!("href=\"#span-{at}\">{}", span.name)),
                "{}",
                span.name
            );
        }
        assert!(
            file.contains("wine_quality") && file.contains("12.4 ms"),
            "{file}"
        );
        for elsewhere in [
            "<script", "<link", "src=", "http://", "https://", "url(", "@import",
        ] {
            assert!(!file.contains(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_hostile_trace_is_only_text() {
        let mut trace = example::miss();
        let hostile =
            "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>\" onclick=\"x";
        let span = &mut trace.spans[0];
        span.name = hostile.to_owned();
        span.service = hostile.to_owned();
        span.status = SpanStatus::Error(hostile.to_owned());
        span.attributes.insert(hostile.to_owned(), json!([hostile]));
        let file = html(&trace);
        assert!(
            !file.contains("<script") && !file.contains("<img"),
            "{file}"
        );
        assert!(!file.contains("\" onclick"), "{file}");
        assert_eq!(file.matches("</style>").count(), 1);
    }
}
