//! Parsers of values that several options have.

use std::time::Duration;

use url::Url;

/// Parses an `http` or `https` address. Its path gets a slash at the end, which joining paths to it
/// needs. The error does not repeat the text, which may hold a password.
pub(crate) fn http_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("this is not an address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("this is not an http or https address".to_owned());
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// Parses a positive time such as `250ms`, `10s` or `7d`.
pub(crate) fn positive_time(text: &str) -> Result<Duration, String> {
    let time = runtime::duration(text)?;
    if time.is_zero() {
        Err(format!("`{text}` must be more than 0"))
    } else {
        Ok(time)
    }
}
