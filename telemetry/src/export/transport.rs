//! The HTTP transport of the OTLP exporters: one blocking client for each signal.
//!
//! The exporters run on threads of the SDK, without a Tokio reactor. The async client would panic
//! there at the first export, and every later item would be dropped
//! (<https://github.com/open-telemetry/opentelemetry-rust/issues/3125>).

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use crate::settings::Otlp;
use crate::tls::{CertificateError, ClientTls};

/// An answer is read up to this length: that of a collector is a few bytes, and the rest could not
/// be used.
const MAX_ANSWER_BYTES: u64 = 4 << 20;

/// Sends one encoded batch and waits for the answer, in the exporter's thread.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    client: reqwest::blocking::Client,
}

/// The transport could not be built.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    /// A PEM file of the settings cannot be used.
    #[error("cannot use the certificates of the exporter")]
    Certificates(#[from] CertificateError),
    /// The certificates are no certificates, or do not fit together.
    #[error("cannot set up the HTTP client")]
    Tls(#[source] rustls::Error),
    /// The HTTP client refuses its settings.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// A request that got no whole answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("the collector did not answer")]
    Exchange(#[source] reqwest::Error),
    /// Without the error itself, whose text holds the address.
    #[error("the answer of the collector broke off: {0}")]
    Body(std::io::ErrorKind),
}

impl Transport {
    #[expect(
        clippy::disallowed_methods,
        reason = "OTLP is sent outside the traced client, or it would trace itself"
    )]
    pub(super) fn new(otlp: &Otlp) -> Result<Self, TransportError> {
        let certificates = ClientTls {
            authority: otlp.certificate.clone(),
            identity: otlp.client.clone(),
            unverified: false,
        };
        let client = reqwest::blocking::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // Each request has its own limit.
            .timeout(None)
            .use_preconfigured_tls(certificates.load()?.config().map_err(TransportError::Tls)?)
            .build()
            .map_err(TransportError::Client)?;
        Ok(Self { client })
    }

    /// Sends `request` and returns the answer, whatever its status, or gives up after `timeout`,
    /// if there is one.
    pub(super) fn send(
        &self,
        request: Request<Bytes>,
        timeout: Option<Duration>,
    ) -> Result<Response<Bytes>, NoAnswer> {
        // The address can hold credentials, so errors are reported without it.
        let failed = |error: reqwest::Error| NoAnswer::Exchange(error.without_url());
        let mut request = reqwest::blocking::Request::try_from(request).map_err(failed)?;
        *request.timeout_mut() = timeout;
        let mut answer = self.client.execute(request).map_err(failed)?;
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        let mut body = Vec::new();
        answer
            .take(MAX_ANSWER_BYTES)
            .read_to_end(&mut body)
            .map_err(|error| NoAnswer::Body(error.kind()))?;
        Ok(response.map(|()| body.into()))
    }
}
