//! The map of the system from real spans only: services, stores and variants, and who calls whom
//! with which rate, errors and percentiles.
//!
//! An edge between services is a SERVER span below a span of another process. A call that never got
//! there, of a service that is down, is an edge to the service that answered at the same address.

mod pairs;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::facts::{Facts, Name, Names};
use crate::measure::{Calls, Numbers};
use pairs::Pairs;

/// Nodes on the map; the rest is counted.
const MAX_NODES: usize = 60;
/// Edges on the map; the rest is counted.
const MAX_EDGES: usize = 240;

/// The answer of `GET /api/map`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceMap {
    /// How far back was asked for.
    pub window_seconds: f64,
    /// How far back there is something: rates are over this time.
    pub seen_seconds: f64,
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    /// Nodes and edges that are not shown because there are too many.
    pub left_out: usize,
}

/// Something that is called, or that calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Names the node in `edges`.
    pub id: String,
    pub kind: NodeKind,
    pub name: String,
    /// The address of a store or a peer, or the service that a store is embedded in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The model of a variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Of all calls that it got.
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// Whoever calls and sends no telemetry.
    Client,
    Service,
    /// Called, but sends no telemetry.
    Peer,
    Store,
    /// A variant of a model.
    Variant,
}

/// Calls from one node to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    pub from: String,
    pub to: String,
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// A node while it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Client,
    Service(Name),
    Peer(Name),
    /// The engine with its address, or the service that it is embedded in.
    Store {
        database: Name,
        address: Name,
        inside: Name,
    },
    Variant {
        model: Name,
        variant: Name,
    },
}

/// The map of what arrived in the last `window` nanoseconds before `now`.
pub(crate) fn map(facts: &Facts, now: u64, window: u64) -> ServiceMap {
    let begin = now.saturating_sub(window);
    let in_window = facts.spans.iter().find(|fact| fact.arrived >= begin);
    let seen = in_window.map_or(0, |first| now.saturating_sub(first.arrived));
    let seconds = seen as f64 / 1e9;
    let mut calls = Pairs::of(facts).calls(begin, now);
    let mut nodes = nodes(&mut calls, &facts.names, seconds);
    let mut edges: Vec<Edge> = calls
        .iter_mut()
        .map(|((from, to), calls)| Edge {
            from: from.id(&facts.names),
            to: to.id(&facts.names),
            numbers: calls.numbers(seconds),
        })
        .collect();
    let found = nodes.len() + edges.len();
    nodes.truncate(MAX_NODES);
    edges.retain(|edge| {
        let known = |id: &String| nodes.iter().any(|node| node.id == *id);
        known(&edge.from) && known(&edge.to)
    });
    edges.sort_by(|a, b| {
        let calls = b.numbers.calls.cmp(&a.numbers.calls);
        calls.then_with(|| (&a.from, &a.to).cmp(&(&b.from, &b.to)))
    });
    edges.truncate(MAX_EDGES);
    ServiceMap {
        window_seconds: window as f64 / 1e9,
        seen_seconds: seconds,
        left_out: found - nodes.len() - edges.len(),
        nodes,
        edges,
    }
}

/// Every end of an edge, those with the most calls first.
fn nodes(calls: &mut HashMap<(Key, Key), Calls>, names: &Names, seconds: f64) -> Vec<Node> {
    let mut got: HashMap<Key, Calls> = HashMap::new();
    for ((from, to), calls) in calls.iter() {
        got.entry(*from).or_default();
        got.entry(*to).or_default().extend(calls);
    }
    let mut nodes: Vec<_> = got
        .into_iter()
        .map(|(key, mut calls)| key.node(names, calls.numbers(seconds)))
        .collect();
    nodes.sort_by(|a, b| {
        let calls = b.numbers.calls.cmp(&a.numbers.calls);
        // The client gets no calls and is always shown.
        let client = (a.kind != NodeKind::Client).cmp(&(b.kind != NodeKind::Client));
        client.then(calls).then_with(|| a.id.cmp(&b.id))
    });
    nodes
}

impl Key {
    fn id(self, names: &Names) -> String {
        let text = |name| names.text(name);
        match self {
            Key::Client => "client".to_owned(),
            Key::Service(name) => format!("service:{}", text(name)),
            Key::Peer(address) => format!("peer:{}", text(address)),
            Key::Store {
                database,
                address,
                inside,
            } => format!("store:{}:{}{}", text(database), text(address), text(inside)),
            Key::Variant { model, variant } => {
                format!("variant:{}:{}", text(model), text(variant))
            }
        }
    }

    fn node(self, names: &Names, numbers: Numbers) -> Node {
        let text = |name| names.text(name).to_owned();
        let (kind, name, at, model) = match self {
            Key::Client => (NodeKind::Client, "clients".to_owned(), None, None),
            Key::Service(name) => (NodeKind::Service, text(name), None, None),
            Key::Peer(address) => (NodeKind::Peer, text(address), None, None),
            Key::Store {
                database,
                address,
                inside,
            } => {
                let at = names.some(address).or(names.some(inside));
                (NodeKind::Store, text(database), at, None)
            }
            Key::Variant { model, variant } => {
                let name = names.some(variant).unwrap_or_else(|| "(none)".to_owned());
                (NodeKind::Variant, name, None, Some(text(model)))
            }
        };
        Node {
            id: self.id(names),
            kind,
            name,
            at,
            model,
            numbers,
        }
    }
}

#[cfg(test)]
mod tests;
