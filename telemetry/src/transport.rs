//! The HTTP transport of the OTLP exporters: one blocking client for all three signals.
//!
//! The exporters run on threads of the SDK's own, without a Tokio reactor, so the client must be the blocking one; the
//! async client would panic there at the first export and every later span would be dropped in silence.

use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};

use crate::otlp::Prepared;
use crate::settings::Otlp;

/// Sends one encoded batch and waits for the answer, in the exporter's thread.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: reqwest::blocking::Client,
    /// Holds the bodies, where the exporter does not encode them itself.
    prepared: Option<Prepared>,
}

/// The transport could not be built.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A PEM file of the settings cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP client refuses the certificates.
    #[error("cannot set up the OTLP transport")]
    Client(#[source] reqwest::Error),
}

impl Transport {
    #[expect(
        clippy::disallowed_methods,
        reason = "OTLP leaves outside the traced client, or it would trace itself"
    )]
    pub(crate) fn new(otlp: &Otlp, prepared: Option<Prepared>) -> Result<Self, TransportError> {
        let mut builder = reqwest::blocking::Client::builder()
            .timeout(otlp.timeout)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &otlp.certificate {
            let authority =
                reqwest::Certificate::from_pem(&read(path)?).map_err(TransportError::Client)?;
            builder = builder.add_root_certificate(authority);
        }
        if let Some((certificate, key)) = &otlp.client {
            let pem = [read(certificate)?, read(key)?].concat();
            builder = builder
                .identity(reqwest::Identity::from_pem(&pem).map_err(TransportError::Client)?);
        }
        Ok(Self {
            client: builder.build().map_err(TransportError::Client)?,
            prepared,
        })
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        if let Some(prepared) = &self.prepared {
            *request.body_mut() = prepared.body();
        }
        let request = reqwest::blocking::Request::try_from(request)?;
        let mut answer = self.client.execute(request)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = std::mem::take(answer.headers_mut());
        }
        Ok(response.body(answer.bytes()?)?)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TransportError> {
    fs::read(path).map_err(|source| TransportError::File {
        path: path.to_owned(),
        source,
    })
}
