//! The attributes of `OTEL_RESOURCE_ATTRIBUTES`.

use percent_encoding::percent_decode_str;

use super::Reader;

const VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Reads `key=value,key=value`, percent-encoded. By the specification ("Specifying resource
/// information via an environment variable") the whole value is discarded when it cannot be
/// decoded.
pub(super) fn read(from: &Reader<'_>) -> Vec<(String, String)> {
    let value = from.get(VARIABLE).unwrap_or_default();
    let pairs = value.split(',').filter(|pair| !pair.trim().is_empty());
    let decoded: Option<Vec<_>> = pairs.map(decode_pair).collect();
    decoded.unwrap_or_else(|| {
        from.ignore(
            VARIABLE,
            "is ignored as a whole; it takes key=value pairs, percent-encoded, between commas",
        );
        Vec::new()
    })
}

fn decode_pair(pair: &str) -> Option<(String, String)> {
    let (key, value) = pair.split_once('=')?;
    let key = decode(key.trim())?;
    let value = decode(value.trim())?;
    (!key.is_empty()).then_some((key, value))
}

/// The text that is percent-encoded; `None` when a `%` begins no octet or the octets are no UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut after_percent = text.split('%').skip(1);
    let is_encoded = after_percent.all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !is_encoded {
        return None;
    }
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}
