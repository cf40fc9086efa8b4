//! What the commands that call a gateway have in common: an API key, and certificates.

use clap::{Args, Parser};
use http::{HeaderMap, HeaderValue, header};
use runtime::{Secret, TlsClientOptions};
use telemetry::client::{ClientError, HttpClient};

/// How a command makes itself known to a gateway.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ApiKeyOption {
    /// API key for a gateway that asks for one; in the environment it is in no list of processes
    #[arg(
        long,
        env = "THROUGHLINE_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub(crate) api_key: Option<Secret>,
}

impl ApiKeyOption {
    /// Adds the key to the headers of a request, if there is one. What cannot be a header is no key
    /// of ours; without it the gateway answers 401.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        let Some(key) = &self.api_key else { return };
        if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", key.reveal())) {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
    }
}

/// A client with the certificates that the environment names (`THROUGHLINE_TLS_CA`,
/// `THROUGHLINE_TLS_CLIENT_CERT` and `THROUGHLINE_TLS_CLIENT_KEY`), as for the parts.
pub(crate) fn http() -> Result<HttpClient, ClientError> {
    Environment::parse_from(["throughline"]).tls.client()
}

#[derive(Parser)]
struct Environment {
    #[command(flatten)]
    tls: TlsClientOptions,
}
