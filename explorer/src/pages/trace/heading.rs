//! What stands above the waterfall: facts, remarks, files; and the steps of the critical path.

use maud::{Markup, html};

use super::view::{Arrival, View};
use super::within;
use crate::critical_path::Segment;
use crate::export::Format;
use crate::pages::format;
use crate::pages::hue::hue;

/// Services that are named above the waterfall.
const MAX_SERVICES: usize = 24;
/// Steps of the critical path that are listed.
const MAX_STEPS: usize = 100;

pub(super) fn facts(view: &View) -> Markup {
    let trace = &view.trace;
    let services = trace.services();
    html! {
        p.facts {
            code { (trace.trace_id) }
            strong { (format::duration(trace.duration())) }
            span { (format::time(trace.start())) }
            span { (format::count(trace.spans.len(), "span"))
                @if view.arrival == Arrival::Arriving { " so far" } }
            span.chips { @for service in services.iter().take(MAX_SERVICES) {
                span.chip.(hue(service)) {
                    (within(service, 60))
                    b { (trace.spans.iter().filter(|span| span.service == **service).count()) }
                }
            } }
        }
        (state(view))
        (files(view))
    }
}

/// In words whether this is the whole trace, and what to know of it.
fn state(view: &View) -> Markup {
    html! {
        @match view.arrival {
            Arrival::Arriving => p.notice.arriving role="status" {
                "◌ Arriving: spans may still be on their way. This is what has come so far."
            },
            Arrival::Whole | Arrival::Incomplete => {}
        }
        @if !view.remarks.is_empty() {
            ul.notice.partial.remarks { @for remark in &view.remarks { li { "⚠ " (within(remark, 300)) } } }
        }
    }
}

fn files(view: &View) -> Markup {
    let id = &view.trace.trace_id;
    let file = |format: Format| format!("/api/traces/{id}/export/{format}");
    html! {
        p.files {
            "Download: "
            a href=(file(Format::Html)) { "HTML page" } " · "
            a href=(file(Format::Perfetto)) { "Perfetto" } " · "
            a href=(file(Format::Otlp)) { "OTLP/JSON" }
            " "
            button type="button" hidden data-script data-copy-file=(file(Format::Otlp)) { "Copy OTLP/JSON" }
            " "
            a href=(format!("/compare?a={id}")) { "Compare with another trace" }
            " · "
            a href=(format!("/traces/{id}/replay")) { "Send it again" }
            " "
            span.soft { "or " code { "throughline trace " (id) " --format html" } }
        }
    }
}

/// The critical path as a list, for those who do not see colours or have no script.
pub(super) fn path(view: &View) -> Markup {
    let total: u64 = view.segments.iter().map(Segment::duration).sum();
    html! {
        @if !view.segments.is_empty() {
            details.box {
                summary { "Critical path: " (format::count(view.segments.len(), "step")) ", " (format::duration(total)) }
                p.soft { "At each moment the one span that the root waited for. " kbd { "c" } " goes along it." }
                ol.steps {
                    @for segment in view.segments.iter().take(MAX_STEPS) {
                        li {
                            a href=(view.address(segment.span)) { (within(&view.trace.spans[segment.span].name, 80)) }
                            " " span.soft { (format::duration(segment.duration())) }
                        }
                    }
                }
                @if view.segments.len() > MAX_STEPS { p.soft { (view.segments.len() - MAX_STEPS) " more steps" } }
            }
        }
    }
}
