//! The forms of a fault in the baggage.

use super::*;

#[test]
fn a_fault_hits_the_named_service_and_has_a_known_kind() {
    let cases = [
        (
            "gateway:latency:20",
            Some(Fault::Latency(Duration::from_millis(20))),
        ),
        ("gateway:latency:999999", Some(Fault::Latency(MAX_LATENCY))),
        ("gateway:error", Some(Fault::Error)),
        ("gateway:drop", Some(Fault::Drop)),
        ("model-service:error", None),
        ("gateway:latency", None),
        ("gateway:latency:-1", None),
        ("gateway:panic", None),
        ("gateway", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text, "gateway"), expected, "{text}");
    }
}
