//! Credentials in the address of a request. They are sent as `Authorization: Basic` (RFC 7617) and
//! taken out of the address, so that no message, span or error can repeat them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// Takes user and password out of `uri`; the value of the header that carries them instead.
pub(crate) fn take_basic(uri: &mut Uri) -> Option<HeaderValue> {
    let (user_info, host) = uri.authority()?.as_str().rsplit_once('@')?;
    let basic = basic(user_info);
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(host.parse().ok()?);
    *uri = Uri::from_parts(parts).ok()?;
    basic
}

fn basic(user_info: &str) -> Option<HeaderValue> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
    // Debug output shows it as "Sensitive".
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
