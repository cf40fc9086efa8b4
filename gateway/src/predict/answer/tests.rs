//! What a request says of calls that failed before another variant answered.

use telemetry::SpanRef;

use super::{Item, Role, State, cache_status, links};
use crate::cache::CacheResult;
use crate::choice::Assignment;
use crate::model_client::Instance;
use crate::predict::item::CallSummary;
use crate::traffic::tests::split;

fn span(span_id: &str) -> SpanRef {
    SpanRef::parse("0af7651916cd43dd8448eb211c80319c", span_id).unwrap()
}

fn call(role: Role, span_id: &str) -> CallSummary {
    CallSummary {
        role,
        worker: Some(span(span_id)),
        stored: None,
    }
}

/// An item that was missing in the store, with its calls.
fn item(id: &str, calls: Vec<CallSummary>) -> Item {
    let variant = split("", true, &[("primary", 1)]).first();
    Item {
        instance: Instance::from_data_id(id.to_owned()),
        assignment: Assignment {
            variant,
            failed: Vec::new(),
        },
        looked_up: vec![(variant, CacheResult::Miss)],
        calls,
        state: State::Open,
    }
}

#[test]
fn every_call_of_another_request_is_linked_once() {
    let failed = call(Role::Waits, "b7ad6b7169203331");
    let own = call(Role::Leads, "00f067aa0ba902b7");
    let items = [
        item("a", vec![failed.clone(), own.clone()]),
        item("b", vec![failed, own]),
    ];
    assert_eq!(links(&items), [&span("b7ad6b7169203331")]);
    // The answer came from an own call, so it is not collapsed.
    assert_eq!(cache_status(&items).to_string(), "throughline; fwd=miss");
}
