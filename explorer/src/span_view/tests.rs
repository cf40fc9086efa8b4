//! A span read in place says the same as the decoded one.

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, KeyValue, any_value::Value as Any,
};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;
use serde_json::json;

use super::{SpanView, ValueView};

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[test]
fn every_part_is_found() {
    let list = ArrayValue {
        values: vec![AnyValue {
            value: Some(Any::IntValue(1)),
        }],
    };
    let span = Span {
        name: "predict wine".to_owned(),
        kind: 2,
        attributes: vec![
            attribute("text", Any::StringValue("äöü".to_owned())),
            attribute("flag", Any::BoolValue(true)),
            attribute("zero", Any::IntValue(0)),
            attribute("minus", Any::IntValue(-7)),
            attribute("share", Any::DoubleValue(0.25)),
            attribute("", Any::StringValue(String::new())),
            attribute("list", Any::ArrayValue(list)),
            KeyValue {
                key: "nothing".to_owned(),
                ..KeyValue::default()
            },
        ],
        events: vec![Event {
            name: "done".to_owned(),
            attributes: vec![attribute("rows", Any::IntValue(3))],
            ..Event::default()
        }],
        links: vec![Link::default(), Link::default()],
        status: Some(Status {
            message: "no".to_owned(),
            code: 2,
        }),
        ..Span::default()
    };
    let bytes = span.encode_to_vec();
    let view = SpanView(&bytes);
    let outline = view.outline();
    assert_eq!(
        (
            outline.name,
            outline.kind,
            outline.links,
            outline.status_message
        ),
        ("predict wine", 2, 2, "no")
    );
    let read: Vec<_> = view
        .attributes()
        .map(|(key, value)| (key.into_owned(), value))
        .collect();
    let expected = [
        ("text", ValueView::Text("äöü")),
        ("flag", ValueView::Bool(true)),
        ("zero", ValueView::Int(0)),
        ("minus", ValueView::Int(-7)),
        ("share", ValueView::Double(0.25)),
        // An empty key is not on the wire, so that the decoder reads this one.
        ("", ValueView::Other(json!(""))),
        ("list", ValueView::Other(json!([1]))),
        ("nothing", ValueView::Other(json!(null))),
    ];
    assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value)));
    let event = view.events().next().unwrap();
    assert_eq!(event.name(), "done");
    assert_eq!(event.attributes().next().unwrap().1, ValueView::Int(3));
}

#[test]
fn a_value_that_comes_twice_is_merged_as_a_decoder_does() {
    let twice = [&[0x12, 0x02, 0x18, 0x01][..], &[0x12, 0x02, 0x18, 0x02][..]].concat();
    let bytes = [&[0x4a, 11, 0x0a, 0x01, b'k'][..], &twice].concat();
    let decoded = Span::decode(&bytes[..]).unwrap();
    assert_eq!(decoded.attributes, [attribute("k", Any::IntValue(2))]);
    let (key, value) = SpanView(&bytes).attributes().next().unwrap();
    assert_eq!((key.as_ref(), value), ("k", ValueView::Int(2)));
}

#[test]
fn texts_of_values_are_those_of_decoded_spans() {
    for (value, text) in [
        (ValueView::Int(-5), "-5"),
        (ValueView::Double(5.0), "5.0"),
        (ValueView::Double(f64::NAN), "NaN"),
        (ValueView::Bool(false), "false"),
        (ValueView::Other(json!(["a"])), r#"["a"]"#),
        (ValueView::Other(json!(null)), "null"),
    ] {
        assert_eq!(value.text(), text);
    }
}
