//! JSON as all parts read it. What one part accepts and reads in one way, no other may refuse or
//! read in another way, because the gateway chooses the variant by the body that it passes on.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

/// The deepest nesting of a body. RFC 8259 §9 allows a limit, and `serde_json` has this one for
/// values that it does not skip.
const MAX_DEPTH: usize = 127;

/// Reads a body that must be a JSON object in UTF-8 (RFC 8259 §8.1).
///
/// A member that is known and given twice is an error; a later one would otherwise win in one part
/// and the first in another (RFC 8259 §4). Unknown members are skipped.
pub fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, serde_json::Error> {
    // serde_json looks neither into the strings nor at the depth of what it skips.
    match std::str::from_utf8(body) {
        Ok(text) if depth(body) <= MAX_DEPTH => {
            serde_json::from_str(text).map(|Object(value)| value)
        }
        _ => Err(syntax_error(body)),
    }
}

/// What `serde_json` says of a body that is not UTF-8 or too deep when it skips nothing.
fn syntax_error(body: &[u8]) -> serde_json::Error {
    let error = serde_json::from_slice::<serde_json::Value>(body).err();
    error.unwrap_or_else(|| serde_json::Error::custom("the body cannot be read"))
}

/// A struct that must be a JSON object. serde reads one from a list of its fields, too; no protocol
/// has that form, and a new field would break it.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// The most brackets that are open at once outside of strings.
fn depth(body: &[u8]) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                open += 1;
                most = most.max(open);
            }
            b']' | b'}' => open = open.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next().filter(|byte| **byte != b'"') {
                    if *byte == b'\\' {
                        bytes.next();
                    }
                }
            }
            _ => {}
        }
    }
    most
}
