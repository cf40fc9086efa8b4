//! Values and ids, both ways.

use super::{base64, unhex};

#[test]
fn hex_both_ways() {
    assert_eq!(hex::encode([0, 0x9f, 0xff]), "009fff");
    assert_eq!(unhex::<2>("9fFF"), Some([0x9f, 0xff]));
    for wrong in ["", "9f", "9fFFF", "9fFg", "+fff", "ä9f"] {
        assert_eq!(unhex::<2>(wrong), None, "{wrong}");
    }
}

/// The vectors of RFC 4648, section 10.
#[test]
fn base64_vectors() {
    let vectors = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
    ];
    for (plain, encoded) in vectors {
        assert_eq!(base64(plain.as_bytes()), encoded);
    }
}
