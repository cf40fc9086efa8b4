//! Nodes and edges from spans, whatever order they arrive in.

use super::*;
use crate::clock;
use crate::facts::bench::{Bench, CLIENT, INTERNAL, SERVER, Sent};

const MINUTE: u64 = 60_000_000_000;

/// One miss over three services, the callee's span before the caller's, as exporters send them.
fn miss(bench: &Bench, trace: u64, failed: bool) {
    let fail = |span: Sent| if failed { span.fails() } else { span };
    bench.send(
        "feature-store",
        Sent::new(trace, 6, 5, "SELECT wine_features", CLIENT).text("db.system.name", "sqlite"),
    );
    bench.send(
        "feature-store",
        Sent::new(trace, 5, 4, "POST /get-online-features", SERVER),
    );
    bench.send(
        "model-service",
        Sent::new(trace, 4, 3, "POST", CLIENT).lasts(3),
    );
    let prediction = Sent::new(trace, 7, 3, "predict wine", INTERNAL)
        .text("ml.model_name", "wine")
        .text("ml.variant", "canary");
    bench.send("model-service", fail(prediction));
    bench.send(
        "model-service",
        fail(Sent::new(trace, 3, 2, "POST /infer", SERVER)),
    );
    let call = Sent::new(trace, 2, 1, "POST", CLIENT)
        .text("server.address", "127.0.0.1")
        .number("server.port", 8000.0)
        .lasts(20);
    bench.send("gateway", fail(call));
    bench.send(
        "gateway",
        Sent::new(trace, 1, 0, "POST /v1/predictions", SERVER).lasts(30),
    );
    bench.send("gateway", Sent::new(trace, 8, 1, "layer", INTERNAL));
}

fn edges(map: &ServiceMap) -> Vec<(String, u64, u64)> {
    let mut edges: Vec<_> = map
        .edges
        .iter()
        .map(|edge| {
            let ends = format!("{} > {}", edge.from, edge.to);
            (ends, edge.numbers.calls, edge.numbers.errors)
        })
        .collect();
    edges.sort();
    edges
}

fn map_at(bench: &Bench, now: u64) -> ServiceMap {
    bench.read(|facts| map(facts, now, MINUTE))
}

#[test]
fn a_trace_over_three_services_is_their_map() {
    let bench = Bench::new();
    miss(&bench, 1, false);
    miss(&bench, 2, true);
    let map = map_at(&bench, clock::now());
    let expected = [
        ("client > service:gateway", 2, 0),
        ("service:feature-store > store:sqlite:feature-store", 2, 0),
        ("service:gateway > service:model-service", 2, 1),
        ("service:model-service > service:feature-store", 2, 0),
        ("service:model-service > variant:wine:canary", 2, 1),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(ends, calls, errors)| (ends.to_owned(), calls, errors))
        .collect();
    assert_eq!(edges(&map), expected);
    // The time of a call is the caller's, with the network in it.
    let call = map
        .edges
        .iter()
        .find(|edge| edge.to == "service:model-service");
    assert_eq!(call.unwrap().numbers.p95_ms, Some(20.0));
    let kinds: Vec<_> = map
        .nodes
        .iter()
        .map(|node| (node.kind, node.name.as_str()))
        .collect();
    assert!(kinds.contains(&(NodeKind::Store, "sqlite")), "{kinds:?}");
    assert!(kinds.contains(&(NodeKind::Variant, "canary")), "{kinds:?}");
    assert_eq!(map.left_out, 0);
}

#[test]
fn a_call_to_a_service_that_is_down_is_on_its_edge_and_to_a_stranger_on_one_of_its_own() {
    let bench = Bench::new();
    miss(&bench, 1, false);
    let call = |trace, host: &str| {
        Sent::new(trace, 2, 1, "POST", CLIENT)
            .text("server.address", host)
            .number("server.port", 8000.0)
    };
    bench.send("gateway", call(2, "127.0.0.1").fails());
    bench.send("gateway", call(3, "elsewhere"));
    // A moment later the other end may still be on its way.
    let soon = map_at(&bench, clock::now());
    let known = |map: &ServiceMap, to: &str| {
        let edge = map.edges.iter().find(|edge| edge.to == to);
        edge.map(|edge| (edge.numbers.calls, edge.numbers.errors))
    };
    assert_eq!(known(&soon, "service:model-service"), Some((2, 1)));
    assert_eq!(known(&soon, "peer:elsewhere:8000"), None);
    let later = map_at(&bench, clock::now() + MINUTE / 2);
    assert_eq!(known(&later, "peer:elsewhere:8000"), Some((1, 0)));
}

#[test]
fn a_span_below_a_stranger_is_a_call_of_a_client_once_nothing_more_can_come() {
    let bench = Bench::new();
    bench.send(
        "gateway",
        Sent::new(1, 1, 99, "POST /v1/predictions", SERVER),
    );
    assert_eq!(map_at(&bench, clock::now()).edges, []);
    let later = map_at(&bench, clock::now() + MINUTE / 2);
    assert_eq!(
        edges(&later),
        [("client > service:gateway".to_owned(), 1, 0)]
    );
    // And then it is too old.
    assert_eq!(
        map_at(&bench, clock::now() + 2 * MINUTE),
        ServiceMap {
            window_seconds: 60.0,
            ..ServiceMap::default()
        }
    );
}

#[test]
fn two_services_that_call_each_other_and_a_flood_of_services_are_bounded() {
    let bench = Bench::new();
    for number in 1..=300 {
        let service = format!("service {number}");
        bench.send(&service, Sent::new(number, 1, 0, "GET", SERVER));
        bench.send(&service, Sent::new(number, 2, 1, "GET", CLIENT));
        bench.send("hub", Sent::new(number, 3, 2, "GET", SERVER));
        bench.send("hub", Sent::new(number, 4, 3, "GET", CLIENT));
        bench.send(&service, Sent::new(number, 5, 4, "GET", SERVER));
    }
    let map = map_at(&bench, clock::now());
    assert_eq!(map.nodes.len(), MAX_NODES);
    assert!(map.edges.len() <= MAX_EDGES);
    assert_eq!(map.nodes.len() + map.edges.len() + map.left_out, 302 + 900);
}
