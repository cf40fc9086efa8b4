//! Parsers of values that several options have.

use std::time::Duration;

use url::Url;

/// Parses an `http` or `https` address. Its path gets a slash at the end, which joining paths to it
/// needs.
pub(crate) fn http_url(text: &str) -> Result<Url, String> {
    let shown = || runtime::without_secrets(text);
    let mut url =
        Url::parse(text).map_err(|error| format!("`{}` is not an address: {error}", shown()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}` is not an http or https address", shown()));
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
