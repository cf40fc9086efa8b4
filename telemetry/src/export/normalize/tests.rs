//! Duplicate attributes.

use opentelemetry::KeyValue;

use super::keep_last;

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
