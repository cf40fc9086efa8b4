//! `/map`: services, stores and variants, and who calls whom, drawn from real spans.

mod drawing;
mod layout;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use serde_json::json;
use url::form_urlencoded;

use super::chart::{Unit, number};
use super::hue::hue;
use super::shell::{self, Head, Section};
use super::{PageQuery, build, format, window};
use crate::api::WindowQuery;
use crate::clock;
use crate::error::ReadError;
use crate::facts::SpanFacts;
use crate::measure::Numbers;
use crate::service_map::{self, Node, NodeKind, ServiceMap};
use crate::state::ApiState;

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/map", get(page))
}

async fn page(State(facts): State<Arc<SpanFacts>>, query: PageQuery<WindowQuery>) -> Response {
    build(move || {
        let Query(query) = query.map_err(ReadError::from)?;
        let (minutes, window) = (query.minutes()?, query.nanoseconds()?);
        let map = facts.read(|facts| service_map::map(facts, clock::now(), window));
        let head = Head {
            title: "Map",
            section: Section::Map,
            styles: &["overview.css"],
            scripts: &[],
            live: true,
        };
        let content = html! {
            div.heading { h1 { "Map" } (window::choice(minutes)) }
            div #map data-live { (content(&map, minutes)) }
        };
        Ok(shell::page(&head, &content))
    })
    .await
}

fn content(map: &ServiceMap, minutes: u64) -> Markup {
    if map.nodes.is_empty() {
        return html! {
            p.notice { "No call in this time. Choose a longer one, or send a request: " code { "throughline sample" } "." }
        };
    }
    html! {
        p.facts { span { "Of " (window::seen(minutes, map.seen_seconds)) "." }
            @if map.left_out > 0 { span.partial { "⚠ " (map.left_out) " nodes and calls are left out" } }
        }
        div.scroll.surface tabindex="0" role="region" aria-label="Map of the calls" { (drawing::drawing(map)) }
        p.soft { "A node opens its traces, and so do the numbers of a call. The wider a line, the more calls; a dashed line with ✗ has errors." }
        h2 { "Calls" }
        (calls(map))
    }
}

fn calls(map: &ServiceMap) -> Markup {
    html! {
        div.scroll.surface tabindex="0" role="region" aria-label="Calls" { table.plain {
            caption.hidden { "Calls, the most frequent first" }
            thead { tr {
                th scope="col" { "From" } th scope="col" { "To" }
                th scope="col" .num { "Calls" } th scope="col" .num { "Rate" } th scope="col" .num { "Errors" }
                th scope="col" .num { "p50" } th scope="col" .num { "p95" }
            } }
            tbody { @for edge in &map.edges { tr {
                td { (node_name(map, &edge.from)) }
                td { (node_name(map, &edge.to)) }
                (numbers(&edge.numbers))
            } } }
        } }
    }
}

fn node_name(map: &ServiceMap, id: &str) -> Markup {
    let Some(node) = map.nodes.iter().find(|node| node.id == id) else {
        return html! { (id) };
    };
    html! {
        @match link(node) {
            Some(link) => a.chip.(class(node)) href=(link) { (node.name) },
            None => (node.name),
        }
        @if let Some(more) = node.model.as_ref().or(node.at.as_ref()) { " " span.soft { (more) } }
    }
}

/// Cells of calls, rate, errors and percentiles.
pub(super) fn numbers(numbers: &Numbers) -> Markup {
    html! {
        td.num { (format::grouped(numbers.calls as usize)) }
        td.num { (number(numbers.rate_per_second, Unit::PerSecond)) }
        td.num { (errors(numbers)) }
        td.num { (milliseconds(numbers.p50_ms)) }
        td.num { (milliseconds(numbers.p95_ms)) }
    }
}

/// The share of errors; a sign says that there are some.
pub(super) fn errors(numbers: &Numbers) -> Markup {
    html! {
        @if numbers.errors > 0 { span.bad { "✗ " (number(numbers.error_share(), Unit::Share)) } }
        @else { "0 %" }
    }
}

pub(super) fn milliseconds(time: Option<f64>) -> String {
    time.map_or_else(
        || "–".to_owned(),
        |time| format::duration((time * 1e6) as u64),
    )
}

/// The value of a condition: as it is if nothing in it could be read as something else.
fn value(name: &str) -> String {
    let is_plain = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if is_plain && !name.is_empty() {
        name.to_owned()
    } else {
        json!(name).to_string()
    }
}

/// The traces of a node.
fn link(node: &Node) -> Option<String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    match node.kind {
        NodeKind::Client | NodeKind::Peer => return None,
        NodeKind::Service => query.append_pair("service", &node.name),
        NodeKind::Store => {
            query.append_pair("where", &format!("db.system.name is {}", value(&node.name)))
        }
        NodeKind::Variant => {
            query.append_pair("model", node.model.as_deref().unwrap_or_default());
            query.append_pair("variant", &node.name)
        }
    };
    Some(format!("/?{}", query.finish()))
}

/// The colour of a service; the other kinds have none.
fn class(node: &Node) -> &'static str {
    match node.kind {
        NodeKind::Service => hue(&node.name),
        _ => "no-hue",
    }
}
