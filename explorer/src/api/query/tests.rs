//! Trace ids of queries.

use super::trace_id;

#[test]
fn a_trace_id_has_32_hex_digits_of_either_case() {
    let id = trace_id("0af7651916cd43dd8448EB211C80319c").unwrap();
    assert_eq!(hex::encode(id), "0af7651916cd43dd8448eb211c80319c");
    for wrong in [
        "",
        "9f",
        "0af7651916cd43dd8448eb211c80319",
        "0af7651916cd43dd8448eb211c80319c0",
        "0af7651916cd43dd8448eb211c80319g",
        "+af7651916cd43dd8448eb211c80319c",
        "äf7651916cd43dd8448eb211c80319c",
    ] {
        assert!(trace_id(wrong).is_err(), "{wrong}");
    }
}
