//! The map as inline SVG.

use maud::{Markup, html};

use super::layout::{Layout, NODE, layout};
use super::{class, link, milliseconds};
use crate::pages::chart::{Unit, number};
use crate::service_map::{Edge, Node, NodeKind, ServiceMap};

/// How far below the drawing a long line aims, and how far beside its ends.
const LOW: f64 = 6.0;
const BOW: f64 = 60.0;
/// How far along the line its numbers stand, as a part of its height.
const ALONG: f64 = 0.65;
/// Characters of a name in a node.
const MAX_NAME: usize = 21;

pub(super) fn drawing(map: &ServiceMap) -> Markup {
    let layout = layout(map);
    let most = map.edges.iter().map(|edge| edge.numbers.rate_per_second);
    let most = most.fold(0.0, f64::max);
    html! {
        svg.map viewBox=(format!("0 0 {} {}", layout.width, layout.height)) width=(layout.width) height=(layout.height) role="group" aria-label="Who calls whom; the table below has the same numbers" {
            @for edge in &map.edges { (line(&layout, edge, most)) }
            @for edge in &map.edges { (label(&layout, map, edge)) }
            @for node in &map.nodes { (drawn(&layout, node)) }
        }
    }
}

/// From the right of the caller to the left of the callee.
fn line(layout: &Layout<'_>, edge: &Edge, most: f64) -> Markup {
    let Some(((x1, y1), (x2, y2))) = ends(layout, edge) else {
        return Markup::default();
    };
    // A call back to the left, or to itself, leaves and arrives in a wide bow.
    let bow = if x2 > x1 { (x2 - x1) / 2.0 } else { 90.0 };
    let path = if is_long(x1, x2) {
        // Below the nodes in between.
        let low = layout.height + LOW;
        let (leave, arrive) = (x1 + BOW, x2 - BOW);
        format!("M{x1:.0} {y1:.0}C{leave:.0} {low:.0} {arrive:.0} {low:.0} {x2:.0} {y2:.0}")
    } else {
        let (leave, arrive) = (x1 + bow, x2 - bow);
        format!("M{x1:.0} {y1:.0}C{leave:.0} {y1:.0} {arrive:.0} {y2:.0} {x2:.0} {y2:.0}")
    };
    let width = 1.0 + 4.0 * (edge.numbers.rate_per_second / most.max(f64::MIN_POSITIVE)).sqrt();
    html! { path.call.failing[edge.numbers.errors > 0] d=(path) stroke-width=(format!("{width:.1}")) {} }
}

fn label(layout: &Layout<'_>, map: &ServiceMap, edge: &Edge) -> Markup {
    let Some(((x1, y1), (x2, y2))) = ends(layout, edge) else {
        return Markup::default();
    };
    let (x, y) = if is_long(x1, x2) {
        // The middle of the curve.
        let low = layout.height + LOW;
        (x1 + (x2 - x1) * 0.56, (y1 + 6.0 * low + y2) / 8.0)
    } else {
        // On the second half of the line, so that calls from different callers do not cover each other's numbers.
        (x2 - 8.0, y1 + (y2 - y1) * ALONG)
    };
    let numbers = &edge.numbers;
    let rate = number(numbers.rate_per_second, Unit::PerSecond);
    let text = format!("{rate} · {}", milliseconds(numbers.p95_ms));
    let drawn = html! {
        text.call-text x=(x) y=(y - 6.0) text-anchor="end" {
            (text)
            title { (edge.from) " → " (edge.to) ": " (numbers.calls) " calls, " (numbers.errors) " errors, p95 " (milliseconds(numbers.p95_ms)) }
        }
        @if numbers.errors > 0 {
            text.call-text.bad x=(x) y=(y + 15.0) text-anchor="end" { "✗ " (number(numbers.error_share(), Unit::Share)) }
        }
    };
    // The traces of a call are those of whoever is called; of a call that fails, the failed ones.
    let called = map.nodes.iter().find(|node| node.id == edge.to);
    let called = called.and_then(link);
    let failed = if numbers.errors > 0 {
        "&status=error"
    } else {
        ""
    };
    html! {
        @match called {
            Some(link) => a href=(format!("{link}{failed}")) aria-label=(format!("Traces of the calls from {} to {}", edge.from, edge.to)) {
                // As large as a finger needs it (WCAG 2.2, 2.5.8).
                rect.target x=(x - 112.0) y=(y - 18.0) width="112" height="26" {}
                (drawn)
            },
            None => (drawn),
        }
    }
}

/// Whether a line passes a column.
fn is_long(x1: f64, x2: f64) -> bool {
    x2 - x1 > NODE.0
}

fn ends(layout: &Layout<'_>, edge: &Edge) -> Option<((f64, f64), (f64, f64))> {
    let (x1, y1) = layout.places.get(edge.from.as_str())?;
    let (x2, y2) = layout.places.get(edge.to.as_str())?;
    let middle = NODE.1 / 2.0;
    Some(((x1 + NODE.0, y1 + middle), (*x2, y2 + middle)))
}

fn drawn(layout: &Layout<'_>, node: &Node) -> Markup {
    let Some((x, y)) = layout.places.get(node.id.as_str()) else {
        return Markup::default();
    };
    let inside = html! {
        rect.(shape(node.kind)).(class(node)) x=(x) y=(y) width=(NODE.0) height=(NODE.1) rx=(radius(node.kind)) {}
        @if node.kind == NodeKind::Service {
            rect.stripe.(class(node)) x=(x) y=(y) width="5" height=(NODE.1) rx="2" {}
        }
        text.node-kind x=(x + 14.0) y=(y + 17.0) { (kind(node)) }
        text.node-name x=(x + 14.0) y=(y + 34.0) { (cut(&node.name)) }
        @if node.kind != NodeKind::Client {
            text.node-kind x=(x + 14.0) y=(y + 50.0) { (summary(node)) }
        }
    };
    html! {
        @match link(node) {
            Some(link) => a.node href=(link) data-key=(node.id) aria-label=(format!("Traces of {} {}", kind(node), node.name)) { (inside) },
            None => g { (inside) },
        }
    }
}

fn shape(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Client => "box-client",
        NodeKind::Service => "box-service",
        NodeKind::Peer => "box-peer",
        NodeKind::Store => "box-store",
        NodeKind::Variant => "box-variant",
    }
}

fn radius(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Client => "29",
        NodeKind::Store => "18",
        NodeKind::Variant => "8",
        NodeKind::Service | NodeKind::Peer => "3",
    }
}

fn kind(node: &Node) -> String {
    let at = |word: &str| match &node.at {
        Some(at) => cut(&format!("{word} · {at}")),
        None => word.to_owned(),
    };
    match node.kind {
        NodeKind::Client => "callers".to_owned(),
        NodeKind::Service => "service".to_owned(),
        NodeKind::Peer => "sends no telemetry".to_owned(),
        NodeKind::Store => at("store"),
        NodeKind::Variant => cut(&format!(
            "variant · {}",
            node.model.as_deref().unwrap_or_default()
        )),
    }
}

fn summary(node: &Node) -> String {
    let numbers = &node.numbers;
    let calls = number(numbers.rate_per_second, Unit::PerSecond);
    format!("{calls} · p95 {}", milliseconds(numbers.p95_ms))
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_NAME {
        return text.to_owned();
    }
    let begin: String = text.chars().take(MAX_NAME - 1).collect();
    format!("{begin}…")
}
