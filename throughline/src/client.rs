//! The HTTP clients of the commands: certificates and the API key come from the environment.

use http::HeaderValue;
use runtime::TlsClientOptions;
use telemetry::client::{ClientError, HttpClient};

/// The variable of the explorer's token.
const EXPLORER_TOKEN: &str = "THROUGHLINE_EXPLORER_TOKEN";
/// The variable of the API key. There is no flag: an argument is in the list of processes.
const API_KEY: &str = "THROUGHLINE_API_KEY";

/// What `--help` adds about the environment.
pub(crate) const HELP: &str = "Environment of the commands that send requests:
  THROUGHLINE_API_KEY                                     key for a gateway that asks for one
  THROUGHLINE_EXPLORER_TOKEN                              token of an explorer that asks for one
  THROUGHLINE_TLS_CA                                      authority of the certificates that are met
  THROUGHLINE_TLS_CLIENT_CERT, THROUGHLINE_TLS_CLIENT_KEY certificate to show";

/// A client for servers of others.
pub(crate) fn http() -> Result<HttpClient, ClientError> {
    TlsClientOptions::from_env().client()
}

/// A client for the gateway, which gets the API key.
pub(crate) fn gateway() -> Result<HttpClient, ClientError> {
    with_key_of(API_KEY)
}

/// A client for the explorer, which gets its token.
pub(crate) fn explorer() -> Result<HttpClient, ClientError> {
    with_key_of(EXPLORER_TOKEN)
}

/// The file that a key comes from may end with a line break. What cannot be a header is no key of
/// ours; without it the answer is 401.
fn with_key_of(variable: &str) -> Result<HttpClient, ClientError> {
    let client = http()?;
    let key = std::env::var(variable).unwrap_or_default();
    let key = Some(key.trim()).filter(|key| !key.is_empty());
    let value = key.and_then(|key| HeaderValue::try_from(format!("Bearer {key}")).ok());
    Ok(match value {
        Some(value) => client.authorized(value),
        None => client,
    })
}
