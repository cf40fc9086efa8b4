//! Duplicate attributes and long values.

use opentelemetry::{Array, KeyValue, Value};

use super::{keep_last, shorten};

#[test]
fn the_last_of_equal_keys_stays_in_its_place() {
    let mut attributes = vec![
        KeyValue::new("a", 1),
        KeyValue::new("b", 1),
        KeyValue::new("a", 2),
        KeyValue::new("c", 1),
        KeyValue::new("a", 3),
    ];
    keep_last(&mut attributes);
    assert_eq!(
        attributes,
        [
            KeyValue::new("b", 1),
            KeyValue::new("c", 1),
            KeyValue::new("a", 3)
        ]
    );
}

#[test]
fn values_are_cut_by_characters_and_not_by_bytes() {
    let cut = |mut value: Value| {
        shorten(&mut value, 3);
        value
    };
    assert_eq!(cut("äöüß".into()), "äöü".into());
    assert_eq!(cut("abc".into()), "abc".into());
    assert_eq!(cut(Value::I64(123_456)), Value::I64(123_456));
    let texts = Value::Array(Array::String(vec!["abcd".into(), "a".into()]));
    assert_eq!(
        cut(texts),
        Value::Array(Array::String(vec!["abc".into(), "a".into()]))
    );
}
