//! References to spans: what is read, and what is refused.

use super::SpanRef;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

#[test]
fn a_reference_survives_the_way_through_a_header() {
    let span = SpanRef::parse(TRACE, SPAN).expect("good ids");
    assert_eq!(span.traceparent(), format!("00-{TRACE}-{SPAN}-01"));
    assert_eq!(SpanRef::from_traceparent(&span.traceparent()), Some(span));
}

#[test]
fn ids_are_lower_case_hex_of_full_length_and_not_zero() {
    let zero_trace = "0".repeat(32);
    let zero_span = "0".repeat(16);
    let upper = TRACE.to_ascii_uppercase();
    let signed = format!("+{}", &TRACE[1..]);
    let bad = [
        (zero_trace.as_str(), SPAN),
        (TRACE, zero_span.as_str()),
        (upper.as_str(), SPAN),
        (signed.as_str(), SPAN),
        (&TRACE[1..], SPAN),
        (TRACE, "b7ad6b716920333g"),
        ("", ""),
    ];
    for (trace, span) in bad {
        assert_eq!(SpanRef::parse(trace, span), None, "{trace} {span}");
    }
    assert_eq!(
        SpanRef::from_traceparent(&format!("ff-{TRACE}-{SPAN}-01")),
        None,
        "a forbidden version"
    );
}
