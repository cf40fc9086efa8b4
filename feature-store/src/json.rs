//! JSON as strictly as it can be read, and the three words that Python's `json` adds to it.
//!
//! Feast's server reads bodies with Python's `json`, which takes the last of two members of one
//! name, lone surrogates, and 1e400 as infinity. Here all of these are errors wherever they stand,
//! also in members that nobody reads: what one program ignores another may use.
//!
//! Feast's remote client writes a missing float as a bare `NaN`, which no JSON has. Its server stores
//! it as null (`pandas.isnull`), and so do we.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use protocol::feast::Text;
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};

/// Reads one JSON object.
pub(crate) fn object<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    standard_object(&without_python_words(text))
}

/// Reads one JSON object that has none of Python's words, and may borrow from it.
pub(crate) fn standard_object<'a, T: Deserialize<'a>>(
    text: &'a [u8],
) -> Result<T, serde_json::Error> {
    serde_json::from_slice::<Strict>(text)?;
    protocol::object(text)
}

/// `NaN` becomes null, `Infinity` and `-Infinity` the texts that stand for them.
pub(crate) fn without_python_words(text: &[u8]) -> Cow<'_, [u8]> {
    const WORDS: [(&[u8], &[u8]); 3] = [
        (b"NaN", b"null"),
        (b"Infinity", b"\"Infinity\""),
        (b"-Infinity", b"\"-Infinity\""),
    ];
    let mut replaced: Option<Vec<u8>> = None;
    let (mut at, mut copied, mut in_string) = (0, 0, false);
    while at < text.len() {
        match text[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'N' | b'I' | b'-' if !in_string => {
                let word = WORDS.iter().find(|(word, _)| text[at..].starts_with(word));
                if let Some((word, json)) = word {
                    let replaced = replaced.get_or_insert_default();
                    replaced.extend_from_slice(&text[copied..at]);
                    replaced.extend_from_slice(json);
                    at += word.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    match replaced {
        None => Cow::Borrowed(text),
        Some(mut replaced) => {
            replaced.extend_from_slice(&text[copied..]);
            Cow::Owned(replaced)
        }
    }
}

/// Any JSON whose objects have no member twice. The parser itself refuses lone surrogates, numbers
/// beyond those of a float, and more than 127 levels.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            map.next_value::<Self>()?;
            if let Some(Text(name)) = names.replace(name) {
                let name: String = name.chars().take(SHOWN).collect();
                return Err(de::Error::custom(format_args!(
                    "{name:?} is given twice in one object"
                )));
            }
        }
        Ok(self)
    }
}

/// Characters of a member's name in an error.
const SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        object::<Map<String, Value>>(text.as_bytes())
            .map(Value::Object)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_two_readers_may_read_differently_is_refused() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"b":[{"a":1,"a":2}]}}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00\ud800"}"#,
            r#"{"\ud800":1}"#,
            r#"{"a":1e400}"#,
            r#"{"a":[-1E+999]}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":+1}"#,
            r#"{"a":1,}"#,
            r#"{"a":1} {}"#,
            "[]",
            "\u{feff}{}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(object::<Map<String, Value>>(b"{\"a\":\"\xff\"}").is_err());
        let long = format!(r#"{{"{0}":1,"{0}":2}}"#, "n".repeat(100_000));
        assert!(read(&long).unwrap_err().len() < 200);
    }

    #[test]
    fn depth_has_an_end_that_is_an_error() {
        let nested = |levels: usize| {
            let (open, close) = ("[".repeat(levels), "]".repeat(levels));
            format!(r#"{{"a":{open}{close}}}"#)
        };
        assert!(read(&nested(100)).is_ok());
        assert!(read(&nested(128)).is_err());
        assert!(read(&nested(100_000)).is_err());
        assert!(read(&format!(r#"{{"a":{}"#, "[".repeat(1_000_000))).is_err());
    }

    #[test]
    fn numbers_are_exact_as_far_as_there_is_a_type() {
        let text = r#"{"a":[9223372036854775807,-9223372036854775808,18446744073709551615,3.4028235e38,1.7976931348623157e308,5e-324,-0.0]}"#;
        let expected =
            json!({"a": [i64::MAX, i64::MIN, u64::MAX, 3.402_823_5e38, f64::MAX, 5e-324, -0.0]});
        assert_eq!(read(text), Ok(expected));
    }

    #[test]
    fn pythons_words_are_read_outside_of_texts() {
        for (text, expected) in [
            (
                r#"{"a":[NaN, Infinity,-Infinity,1]}"#,
                json!({"a": [null, "Infinity", "-Infinity", 1]}),
            ),
            (
                r#"{"NaN":"NaN, \"NaN\\","b":"\\","c":NaN}"#,
                json!({"NaN": "NaN, \"NaN\\", "b": "\\", "c": null}),
            ),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in [r#"{"a":nan}"#, r#"{"a":-NaN}"#, r#"{"a":NaNN}"#, r"{NaN:1}"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
