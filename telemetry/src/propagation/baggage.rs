//! W3C Baggage, within its limits of 64 members and 8,192 bytes. A member that is malformed or finds
//! no room is dropped alone, and never logged: it can hold a user's id.

use opentelemetry::Context;
use opentelemetry::baggage::{self, BaggageExt};
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{members, trim};

const BAGGAGE: &str = "baggage";
const MAX_MEMBERS: usize = 64;
const MAX_BYTES: usize = 8192;
/// What is no `baggage-octet`, and the percent sign itself.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b',')
    .add(b';')
    .add(b'\\')
    .add(b'%');

/// Reads and writes `baggage`.
#[derive(Debug)]
pub(crate) struct Baggage {
    fields: [String; 1],
}

impl Default for Baggage {
    fn default() -> Self {
        Self {
            fields: [BAGGAGE.to_owned()],
        }
    }
}

impl TextMapPropagator for Baggage {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        let baggage = context.baggage();
        let members = baggage.iter().map(|(name, (value, metadata))| {
            let value = utf8_percent_encode(value.as_str(), ENCODED);
            match metadata.as_str() {
                "" => format!("{name}={value}"),
                metadata => format!("{name}={value};{metadata}"),
            }
        });
        let mut list = String::new();
        for member in members {
            let comma = usize::from(!list.is_empty());
            if list.len() + comma + member.len() <= MAX_BYTES {
                list.extend([&","[..comma], &member]);
            }
        }
        if !list.is_empty() {
            injector.set(BAGGAGE, list);
        }
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let lines = extractor.get_all(BAGGAGE).unwrap_or_default();
        let mut baggage = baggage::Baggage::new();
        let mut left = MAX_BYTES;
        let valid = members(&lines).filter_map(|text| Some((text.len() + 1, member(text)?)));
        for (bytes, member) in valid {
            // The comma before the first member is not there.
            if bytes <= left + 1 && baggage.len() < MAX_MEMBERS {
                left = left.saturating_sub(bytes);
                let (key, value, properties) = member;
                baggage.insert_with_metadata(key, value, properties);
            }
        }
        if baggage.is_empty() {
            return context.clone();
        }
        context.with_baggage(baggage)
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

/// Reads `key = value ; properties`: the key a token, the value percent-encoded. By W3C octets that
/// are no UTF-8 become U+FFFD.
fn member(text: &str) -> Option<(String, String, String)> {
    let (pair, properties) = text.split_once(';').unwrap_or((text, ""));
    let (key, value) = pair.split_once('=')?;
    let (key, value, properties) = (trim(key), trim(value), trim(properties));
    let is_octet =
        |byte: u8| matches!(byte, b'!' | b'#'..=b'+' | b'-'..=b':' | b'<'..=b'[' | b']'..=b'~');
    let is_property = |byte: u8| is_octet(byte) || b"; \t".contains(&byte);
    if !is_token(key) || !value.bytes().all(is_octet) || !properties.bytes().all(is_property) {
        return None;
    }
    let value = percent_decode_str(value).decode_utf8_lossy();
    Some((key.to_owned(), value.into_owned(), properties.to_owned()))
}

/// RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

#[cfg(test)]
mod tests;
