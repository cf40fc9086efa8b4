//! The links of a span, to other spans and from them.

use maud::{Markup, html};

use super::view::{View, span_address};
use super::within;
use crate::links::LinkedSpan;
use crate::pages::hue::hue;
use crate::trace::SpanData;

pub(super) fn of_span(view: &View, span: &SpanData) -> Markup {
    let of_this = |link: &&LinkedSpan| link.own_span_id == span.span_id;
    let links = view.links.outward.iter().chain(&view.links.inward);
    let own: Vec<&LinkedSpan> = links.filter(of_this).collect();
    let elsewhere = view.links.outward.len() + view.links.inward.len() - own.len();
    html! {
        @if !own.is_empty() {
            h3 { "Links" }
            ul.links { @for link in &own { (item(view, link)) } }
        }
        @if elsewhere > 0 { (others(view, span)) }
        @if view.links.left_out > 0 { p.soft { (view.links.left_out) " more links are not listed" } }
    }
}

/// The links of the other spans: who looks at a root wants to know what its trace is linked to.
fn others(view: &View, span: &SpanData) -> Markup {
    let of_others = |link: &&LinkedSpan| link.own_span_id != span.span_id;
    let links = view.links.outward.iter().chain(&view.links.inward);
    let others: Vec<&LinkedSpan> = links.filter(of_others).collect();
    html! {
        details.other-links {
            summary { "Links of other spans: " (others.len()) }
            ul.links { @for link in others.iter().take(50) { (item(view, link)) } }
        }
    }
}

fn item(view: &View, link: &LinkedSpan) -> Markup {
    let same = link.trace_id == view.trace.trace_id;
    let short = |id: &str| id.get(..8).unwrap_or(id).to_owned();
    html! {
        li {
            span.relation { (link.relation) } " "
            @match (&link.name, &link.service) {
                (Some(name), Some(service)) => {
                    span.dot.(hue(service)) {}
                    a href=(span_address(&link.trace_id, &link.span_id)) { (within(name, 80)) }
                    " " span.soft { (within(service, 40)) @if !same { ", trace " (short(&link.trace_id)) "…" } }
                }
                _ => {
                    span.partial { "⚠ span " code { (short(&link.span_id)) "…" } " of trace " code { (link.trace_id) }
                        " is gone: evicted, or never received here" }
                }
            }
        }
    }
}
