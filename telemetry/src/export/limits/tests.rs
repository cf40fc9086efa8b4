//! Long values.

use opentelemetry::{Array, Value};

use super::shorten;

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
