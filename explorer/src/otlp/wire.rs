//! Splits an OTLP protobuf request into slices without decoding it. The three signals share one
//! outer shape.
//!
//! A full decode would turn two bytes on the wire (an empty span) into about 250 in memory. Slices
//! keep a hostile body as small as it arrived, and the bytes of an item can be stored as they are.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Items in one request. The defaults of the SDKs (512) and of the Collector's batches (8,192) are
/// far below.
const MAX_ITEMS: usize = 65_536;
/// Pairs of resource and scope in one request.
const MAX_SCOPES: usize = 4_096;

/// Why a body is not an OTLP request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the body is not a valid OTLP protobuf message")]
    Protobuf(#[from] prost::DecodeError),
    #[error("a field is longer than the message around it")]
    Truncated,
    #[error("more than {MAX_ITEMS} items or {MAX_SCOPES} scopes in one request")]
    TooMany,
    #[error("the body is not a valid OTLP/JSON document")]
    Json(#[source] serde_json::Error),
}

/// The encoded items (spans, log records or metrics) of one resource and scope.
#[derive(Debug, Default)]
pub(crate) struct ScopeItems<'a> {
    pub resource: &'a [u8],
    pub resource_schema_url: &'a [u8],
    pub scope: &'a [u8],
    pub scope_schema_url: &'a [u8],
    pub items: Vec<&'a [u8]>,
}

/// Splits an `Export{Trace,Logs,Metrics}ServiceRequest`; scopes without items are left out.
///
/// The three signals have the same field numbers (opentelemetry-proto 1.x):
/// `request { resource_x = 1 }`, `resource_x { resource = 1, scope_x = 2, schema_url = 3 }`,
/// `scope_x { scope = 1, items = 2, schema_url = 3 }`.
pub(crate) fn split(body: &[u8]) -> Result<Vec<ScopeItems<'_>>, Malformed> {
    let mut scopes = Vec::new();
    let mut items_left = MAX_ITEMS;
    each_field(body, |tag, field| match tag {
        1 => split_resource(field, &mut scopes, &mut items_left),
        _ => Ok(()),
    })?;
    Ok(scopes)
}

fn split_resource<'a>(
    bytes: &'a [u8],
    scopes: &mut Vec<ScopeItems<'a>>,
    items_left: &mut usize,
) -> Result<(), Malformed> {
    let first = scopes.len();
    let (mut resource, mut schema_url): (&[u8], &[u8]) = (&[], &[]);
    each_field(bytes, |tag, field| {
        match tag {
            1 => resource = field,
            2 => {
                let scope = scope_items(field, items_left)?;
                if !scope.items.is_empty() {
                    scopes.push(scope);
                }
            }
            3 => schema_url = field,
            _ => {}
        }
        if scopes.len() > MAX_SCOPES {
            Err(Malformed::TooMany)
        } else {
            Ok(())
        }
    })?;
    // Fields may be in any order, so the resource is known only after the last of them.
    for scope in &mut scopes[first..] {
        scope.resource = resource;
        scope.resource_schema_url = schema_url;
    }
    Ok(())
}

fn scope_items<'a>(bytes: &'a [u8], items_left: &mut usize) -> Result<ScopeItems<'a>, Malformed> {
    let mut scope = ScopeItems::default();
    each_field(bytes, |tag, field| {
        match tag {
            1 => scope.scope = field,
            2 => {
                *items_left = items_left.checked_sub(1).ok_or(Malformed::TooMany)?;
                scope.items.push(field);
            }
            3 => scope.scope_schema_url = field,
            _ => {}
        }
        Ok(())
    })?;
    Ok(scope)
}

/// The data points of an encoded metric, whether or not they can be decoded.
///
/// `metric { gauge = 5, sum = 7, histogram = 9, exponential_histogram = 10, summary = 11 }`, each of
/// them `{ data_points = 1 }`.
pub(crate) fn count_data_points(metric: &[u8]) -> usize {
    let mut points = 0;
    // Points before the damage are counted.
    let _ = each_field(metric, |tag, data| match tag {
        5 | 7 | 9..=11 => each_field(data, |tag, _| {
            points += usize::from(tag == 1);
            Ok(())
        }),
        _ => Ok(()),
    });
    points
}

/// Calls `visit` with each length-delimited field; other wire types do not occur at this level and
/// are skipped.
fn each_field<'a>(
    mut bytes: &'a [u8],
    mut visit: impl FnMut(u32, &'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes)?;
        if wire_type == WireType::LengthDelimited {
            let length =
                usize::try_from(decode_varint(&mut bytes)?).map_err(|_| Malformed::Truncated)?;
            let (field, rest) = bytes.split_at_checked(length).ok_or(Malformed::Truncated)?;
            bytes = rest;
            visit(tag, field)?;
        } else {
            skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?;
        }
    }
    Ok(())
}
