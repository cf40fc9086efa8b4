//! From any form that `ProtoJSON` allows for a field to the one form that the types of
//! `opentelemetry-proto` read (<https://protobuf.dev/programming-guides/json/>).
//!
//! The serde form of that crate (0.33.1) refuses much that the mapping allows: `null` for a field
//! that is not set (<https://github.com/open-telemetry/opentelemetry-rust/issues/3677>), doubles as
//! strings such as `"NaN"` or `"1.5"` (<https://github.com/open-telemetry/opentelemetry-rust/pull/3496>),
//! 32-bit integers as strings, `5.0` and `1e2` for integers, names of enums, URL-safe and unpadded
//! base64, `snake_case` names of fields, an empty `arrayValue` or `kvlistValue`, an attribute without
//! a key.
//!
//! A field is normalized by its name alone. A name is never ambiguous, since OTLP/JSON has
//! attribute names as values and not as object keys.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use opentelemetry_proto::tonic::logs::v1::SeverityNumber;
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};

use super::JsonValue;

/// Padding is optional, and so are zeros in the bits that the last byte leaves over.
const LENIENT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// `startTimeUnixNano` for `start_time_unix_nano`: a parser has to accept both.
pub(in crate::otlp::json) fn field_name(name: String) -> String {
    if !name.contains('_') {
        return name;
    }
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                camel.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => camel.push(c),
        }
    }
    camel
}

/// The value of `field` in the form that the crate's types accept; `None` when it is not set.
pub(super) fn normalize(field: &str, value: JsonValue) -> Option<JsonValue> {
    if matches!(value, JsonValue::Null) {
        return None;
    }
    Some(match field {
        // `value` is a number in a quantile only, and an object elsewhere.
        "doubleValue" | "asDouble" | "sum" | "min" | "max" | "explicitBounds" | "zeroThreshold"
        | "quantile" | "value" => value.map_scalars(to_double),
        "kind" => named(value, |name| {
            SpanKind::from_str_name(name).map(|kind| kind as i32)
        }),
        "code" => named(value, |name| {
            StatusCode::from_str_name(name).map(|code| code as i32)
        }),
        "severityNumber" => named(value, |name| {
            SeverityNumber::from_str_name(name).map(|severity| severity as i32)
        }),
        "aggregationTemporality" => named(value, |name| {
            AggregationTemporality::from_str_name(name).map(|temporality| temporality as i32)
        }),
        "intValue"
        | "asInt"
        | "timeUnixNano"
        | "startTimeUnixNano"
        | "endTimeUnixNano"
        | "observedTimeUnixNano"
        | "count"
        | "zeroCount"
        | "bucketCounts"
        | "droppedAttributesCount"
        | "droppedEventsCount"
        | "droppedLinksCount"
        | "flags"
        | "scale"
        | "offset" => value.map_scalars(to_integer),
        "bytesValue" => value.map_scalars(to_standard_base64),
        "arrayValue" => value.with_default("values", empty_list),
        "kvlistValue" => value
            .with_default("values", empty_list)
            .map_field("values", keyed),
        "attributes" | "filteredAttributes" | "metadata" => keyed(value),
        "entityRefs" => value.map_list(entity),
        _ => value,
    })
}

/// Gives every attribute a key.
fn keyed(list: JsonValue) -> JsonValue {
    list.map_list(|pair| pair.with_default("key", empty_text))
}

fn entity(entity: JsonValue) -> JsonValue {
    entity
        .with_default("schemaUrl", empty_text)
        .with_default("type", empty_text)
        .with_default("idKeys", empty_list)
        .with_default("descriptionKeys", empty_list)
}

fn empty_text() -> JsonValue {
    JsonValue::Text(String::new())
}

fn empty_list() -> JsonValue {
    JsonValue::List(Vec::new())
}

fn to_double(value: JsonValue) -> JsonValue {
    let JsonValue::Text(text) = value else {
        return value;
    };
    match text.as_str() {
        "NaN" => JsonValue::Float(f64::NAN),
        "Infinity" => JsonValue::Float(f64::INFINITY),
        "-Infinity" => JsonValue::Float(f64::NEG_INFINITY),
        number => match number.parse::<f64>() {
            Ok(number) if number.is_finite() => JsonValue::Float(number),
            _ => JsonValue::Text(text),
        },
    }
}

/// An enum by number, or by the name that the protocol's definition gives it.
fn named(value: JsonValue, number: fn(&str) -> Option<i32>) -> JsonValue {
    match &value {
        JsonValue::Text(name) => match number(name) {
            Some(number) => JsonValue::Int(number.into()),
            None => to_integer(value),
        },
        _ => to_integer(value),
    }
}

/// An integer that is written as a string, with an exponent or with a fraction of zeros.
fn to_integer(value: JsonValue) -> JsonValue {
    let integer = match &value {
        JsonValue::Text(text) => integer(text),
        // `i128` has every integer of 64 bits, and the cast saturates.
        JsonValue::Float(number) if number.fract() == 0.0 => Some(*number as i128),
        _ => None,
    };
    let Some(integer) = integer else { return value };
    match (i64::try_from(integer), u64::try_from(integer)) {
        (Ok(integer), _) => JsonValue::Int(integer),
        (_, Ok(integer)) => JsonValue::Uint(integer),
        _ => value,
    }
}

/// The exact value of a decimal such as `12`, `-1.20e1` or `5.0`; `None` if it is not integral.
fn integer(text: &str) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => (true, mantissa),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let digits = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let significant = digits.trim_end_matches('0');
    let zeros = digits.len() - significant.len();
    let shift =
        i64::from(exponent) - i64::try_from(fraction.len()).ok()? + i64::try_from(zeros).ok()?;
    let factor = 10_i128.checked_pow(u32::try_from(shift).ok()?)?;
    let integer = significant.parse::<i128>().ok()?.checked_mul(factor)?;
    Some(if negative { -integer } else { integer })
}

fn to_standard_base64(value: JsonValue) -> JsonValue {
    let JsonValue::Text(text) = &value else {
        return value;
    };
    let standard = text.replace('-', "+").replace('_', "/");
    match LENIENT_BASE64.decode(standard) {
        Ok(bytes) => JsonValue::Text(BASE64_STANDARD.encode(bytes)),
        Err(_) => value,
    }
}
