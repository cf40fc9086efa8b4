//! Walks an OTLP protobuf request without decoding it: the three signals share one outer shape, and only slices leave here.
//!
//! A full decode would let two bytes on the wire (an empty span) become 250 in memory; slices keep a hostile body as
//! small as it came, and the bytes of an item can be stored as received.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Items in one request; the SDKs send 512 at a time, the Collector 8,192.
const MAX_ITEMS: usize = 65_536;
/// Pairs of resource and scope in one request.
const MAX_GROUPS: usize = 4_096;

/// Why a body is not an OTLP request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the body is not a valid OTLP protobuf message")]
    Protobuf(#[from] prost::DecodeError),
    #[error("a field says that it is longer than the message around it")]
    Truncated,
    #[error("more than {MAX_ITEMS} items or {MAX_GROUPS} scopes in one request")]
    TooMany,
    #[error("the body is not a valid OTLP/JSON document")]
    Json(#[source] serde_json::Error),
}

/// Items (spans, log records or metrics, still encoded) of one resource and scope.
#[derive(Debug, Default)]
pub(crate) struct Group<'a> {
    pub resource: &'a [u8],
    pub resource_schema_url: &'a [u8],
    pub scope: &'a [u8],
    pub scope_schema_url: &'a [u8],
    pub items: Vec<&'a [u8]>,
}

/// Splits an Export{Trace,Logs,Metrics}ServiceRequest into its groups; those without items are left out.
///
/// Field numbers, the same for the three signals (opentelemetry-proto 1.x): `request { resource_x = 1 }`,
/// `resource_x { resource = 1, scope_x = 2, schema_url = 3 }`, `scope_x { scope = 1, items = 2, schema_url = 3 }`.
pub(crate) fn groups(body: &[u8]) -> Result<Vec<Group<'_>>, Malformed> {
    let mut groups = Vec::new();
    let mut items_left = MAX_ITEMS;
    each_field(body, |tag, resource_items| match tag {
        1 => resource_groups(resource_items, &mut groups, &mut items_left),
        _ => Ok(()),
    })?;
    Ok(groups)
}

fn resource_groups<'a>(
    bytes: &'a [u8],
    groups: &mut Vec<Group<'a>>,
    items_left: &mut usize,
) -> Result<(), Malformed> {
    let first = groups.len();
    let (mut resource, mut schema_url): (&[u8], &[u8]) = (&[], &[]);
    each_field(bytes, |tag, field| {
        match tag {
            1 => resource = field,
            2 => {
                let group = scope_group(field, items_left)?;
                if !group.items.is_empty() {
                    groups.push(group);
                }
            }
            3 => schema_url = field,
            _ => {}
        }
        if groups.len() > MAX_GROUPS {
            Err(Malformed::TooMany)
        } else {
            Ok(())
        }
    })?;
    // Fields may come in any order, so the resource is known only now.
    for group in &mut groups[first..] {
        group.resource = resource;
        group.resource_schema_url = schema_url;
    }
    Ok(())
}

fn scope_group<'a>(bytes: &'a [u8], items_left: &mut usize) -> Result<Group<'a>, Malformed> {
    let mut group = Group::default();
    each_field(bytes, |tag, field| {
        match tag {
            1 => group.scope = field,
            2 => {
                *items_left = items_left.checked_sub(1).ok_or(Malformed::TooMany)?;
                group.items.push(field);
            }
            3 => group.scope_schema_url = field,
            _ => {}
        }
        Ok(())
    })?;
    Ok(group)
}

/// Calls `visit` with each length-delimited field; fields of other wire types are unknown here and skipped.
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
