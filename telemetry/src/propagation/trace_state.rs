//! `tracestate`: a list of at most 32 members that is passed on in order, or dropped as a whole when
//! one member is malformed.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceState};

use super::members;

const MAX_MEMBERS: usize = 32;
/// Characters of a key or of a value.
const MAX_LENGTH: usize = 256;

/// A list that is valid by level 2 and that `TraceState` refuses, since `opentelemetry` 0.33.1 still
/// reads keys by level 1 (`foo@@bar`; no issue was found upstream). It travels beside the span
/// context, and spans are exported without it.
#[derive(Debug)]
struct Carried(String);

/// Reads all lines; the state, and the context that carries what the state cannot hold.
pub(super) fn read(lines: &[&str], context: &Context) -> (TraceState, Context) {
    let Some(pairs) = parse(lines) else {
        return (TraceState::NONE, context.clone());
    };
    if let Ok(state) = TraceState::from_key_value(pairs.iter().copied()) {
        return (state, context.clone());
    }
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let carried = Carried(pairs.join(","));
    (TraceState::NONE, context.with_value(carried))
}

/// The value of the header that goes out with `ids`.
pub(super) fn header(context: &Context, ids: &SpanContext) -> String {
    match context.get::<Carried>() {
        Some(Carried(list)) => list.clone(),
        None => ids.trace_state().header(),
    }
}

fn parse<'a>(lines: &[&'a str]) -> Option<Vec<(&'a str, &'a str)>> {
    let pairs: Option<Vec<_>> = members(lines).take(MAX_MEMBERS + 1).map(pair).collect();
    pairs.filter(|pairs| pairs.len() <= MAX_MEMBERS)
}

fn pair(member: &str) -> Option<(&str, &str)> {
    let (key, value) = member.split_once('=')?;
    (is_key(key) && is_value(value)).then_some((key, value))
}

/// Level 2, 3.3.1.3.1.
fn is_key(key: &str) -> bool {
    let starts_well = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= MAX_LENGTH
        && key.as_bytes().first().is_some_and(starts_well)
        && key
            .bytes()
            .all(|byte| starts_well(&byte) || b"_-*/@".contains(&byte))
}

/// Level 2, 3.3.1.3.2. White space at its end was trimmed.
fn is_value(value: &str) -> bool {
    (1..=MAX_LENGTH).contains(&value.len())
        && value
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}
