//! The variant that a request wants, read from the standard header that travels with its trace (W3C
//! Baggage).
//!
//! The header is read directly, not the trace context, so that it also works without telemetry. No
//! value is recorded: a client may write anything there, and `user.id` is a person's.

use http::HeaderMap;
use percent_encoding::percent_decode_str;

/// The most bytes that are read of all `baggage` headers together (W3C Baggage, 3.3.2).
const MAX_HEADER: usize = 8_192;
/// A longer value is ignored.
const MAX_VALUE: usize = 256;

/// What one request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// `ml.variant`: this variant and no other.
    pub(crate) variant: Option<String>,
    /// `user.id`: one variant for everything that this user asks.
    pub(crate) user: Option<String>,
}

impl Wish {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut wish = Self::default();
        let mut left = MAX_HEADER;
        for value in headers.get_all("baggage") {
            let Some(rest) = left.checked_sub(value.len()) else {
                break;
            };
            left = rest;
            let Ok(text) = value.to_str() else { continue };
            for member in text.split(',') {
                wish.read_member(member);
            }
        }
        wish
    }

    /// Reads `name = value ; properties`. The first usable value of a name counts.
    fn read_member(&mut self, member: &str) {
        let pair = member
            .split(';')
            .next()
            .and_then(|pair| pair.split_once('='));
        let Some((name, value)) = pair else { return };
        let field = match name.trim() {
            "ml.variant" => &mut self.variant,
            "user.id" => &mut self.user,
            _ => return,
        };
        if field.is_none() {
            *field = decode(value.trim());
        }
    }
}

/// Undoes the percent-encoding; `None` if the value is empty or too long. Bytes that are not UTF-8
/// become the replacement character, as the standard requires, and a broken escape stands for
/// itself.
fn decode(value: &str) -> Option<String> {
    let text = percent_decode_str(value).decode_utf8_lossy();
    (1..=MAX_VALUE)
        .contains(&text.len())
        .then(|| text.into_owned())
}
