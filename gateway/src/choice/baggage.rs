//! What a request says of the variant it wants, in the standard header that travels with its trace (W3C Baggage).
//!
//! It is read from the header and not from the trace's context, so that it works without telemetry, too. A value never goes
//! into telemetry: it is whatever a client likes to write, and `user.id` is a person's.

use http::HeaderMap;
use percent_encoding::percent_decode_str;

/// The most bytes that are read of all `baggage` headers together, as the standard has it.
const MAX_HEADER: usize = 8_192;
/// A longer value is none: nobody's id is longer.
const MAX_VALUE: usize = 256;

/// The wish of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// `ml.variant`: this variant and no other.
    pub(crate) forced: Option<String>,
    /// `user.id`: one variant for everything that this person asks.
    pub(crate) user: Option<String>,
}

impl Wish {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut this = Self::default();
        let mut left = MAX_HEADER;
        for value in headers.get_all("baggage") {
            let Some(rest) = left.checked_sub(value.len()) else {
                break;
            };
            left = rest;
            let Ok(text) = value.to_str() else { continue };
            for member in text.split(',') {
                // What follows a semicolon are properties of the value, and none are ours.
                let pair = member
                    .split(';')
                    .next()
                    .and_then(|pair| pair.split_once('='));
                let place = match pair.map(|(name, _)| name.trim()) {
                    Some("ml.variant") => &mut this.forced,
                    Some("user.id") => &mut this.user,
                    _ => continue,
                };
                if place.is_none() {
                    *place = pair.and_then(|(_, value)| decode(value.trim()));
                }
            }
        }
        this
    }
}

/// Undoes the percent-encoding; `None` for what is empty or too long. What is no UTF-8 gets the replacement character, as the
/// standard has it, and what is no escape stands for itself.
fn decode(value: &str) -> Option<String> {
    let text = percent_decode_str(value).decode_utf8_lossy();
    (1..=MAX_VALUE)
        .contains(&text.len())
        .then(|| text.into_owned())
}
