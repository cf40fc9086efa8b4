//! The only HTTP client: a CLIENT span for each call, the trace context injected, one deadline for
//! the whole exchange.

mod address;
mod call;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use opentelemetry::context::FutureExt;
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_http::HeaderInjector;

use crate::credentials;
pub use crate::tls::{CertificateError, ClientTls};
use address::ServerAddress;
use call::ClientCall;

/// The largest answer that is read into memory.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// Idle connections are closed sooner than the services close them (`--header-timeout`, 10 s): a
/// request on a connection that is being closed would be lost, and a POST is not sent twice.
const POOL_IDLE: Duration = Duration::from_secs(5);

/// Attributes of one call's span beyond the conventions, such as `ml.variant`: an extension of its
/// request.
#[derive(Clone, Debug, Default)]
pub struct SpanAttributes(pub Vec<KeyValue>);

/// A pool of connections that cannot be used without tracing. Cloning shares the pool.
#[derive(Clone, Debug)]
pub struct HttpClient {
    inner: reqwest::Client,
    authorization: Option<HeaderValue>,
    sends_context: bool,
}

/// Why there is no answer. An answer with an error status is an answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The request has no absolute `http` or `https` address, or the client cannot be built.
    #[error("the HTTP request cannot be sent")]
    InvalidRequest(#[source] Option<reqwest::Error>),
    /// A certificate of the client cannot be used.
    #[error("cannot use the certificates of the HTTP client")]
    Certificates(#[from] CertificateError),
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The deadline passed.
    #[error("no answer from {address} within {} ms", timeout.as_millis())]
    Timeout {
        /// Host and port.
        address: String,
        /// The time that was given.
        timeout: Duration,
    },
    /// The exchange broke off.
    #[error("the exchange with {address} broke off")]
    Transport {
        /// Host and port.
        address: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The answer is larger than 16 MiB.
    #[error("the answer of {address} is too large")]
    TooLarge {
        /// Host and port.
        address: String,
    },
}

impl ClientError {
    /// The bounded word for `error.type`.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) | Self::Certificates(_) => "invalid_request",
            Self::Connect { .. } => "connect_error",
            Self::Timeout { .. } => "timeout",
            Self::Transport { .. } => "transport_error",
            Self::TooLarge { .. } => "response_too_large",
        }
    }
}

impl HttpClient {
    /// A client without redirects, cookies or proxies: its hops are inside the system.
    pub fn new() -> Result<Self, ClientError> {
        Self::with_tls(&ClientTls::default())
    }

    /// The same with certificates of its own.
    #[expect(clippy::disallowed_methods, reason = "the one traced client")]
    pub fn with_tls(tls: &ClientTls) -> Result<Self, ClientError> {
        let certificates = tls.load()?;
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // A compressed answer is passed on as it came to the client that asked for it.
            .no_gzip()
            .connect_timeout(Duration::from_secs(2))
            .pool_idle_timeout(POOL_IDLE)
            .danger_accept_invalid_certs(tls.unverified);
        for authority in certificates.authorities {
            builder = builder.add_root_certificate(authority);
        }
        if let Some(identity) = certificates.identity {
            builder = builder.identity(identity);
        }
        let inner = builder
            .build()
            .map_err(|error| ClientError::InvalidRequest(Some(error)))?;
        Ok(Self {
            inner,
            authorization: None,
            sends_context: true,
        })
    }

    /// The same pool with an `Authorization` for every request that has none. The client is for one
    /// service then: any other would get the header as well.
    #[must_use]
    pub fn authorized(mut self, mut value: HeaderValue) -> Self {
        // Debug output shows it as "Sensitive".
        value.set_sensitive(true);
        self.authorization = Some(value);
        self
    }

    /// The same pool without trace context in its requests: for a part that exports no spans, whose
    /// receivers would continue a trace that nobody has.
    #[must_use]
    pub fn without_context(mut self) -> Self {
        self.sends_context = false;
        self
    }

    /// Sends one request and reads the whole answer, all within `timeout`, in a span named after
    /// the method. The span also has the [`SpanAttributes`] of the request's extensions.
    ///
    /// Credentials in the address are sent as `Authorization: Basic`, unless the request has that
    /// header already, and appear in no span and no error.
    pub async fn send(
        &self,
        mut request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, ClientError> {
        if let Some(basic) = credentials::take_basic(request.uri_mut()) {
            let headers = request.headers_mut();
            headers.entry(header::AUTHORIZATION).or_insert(basic);
        }
        if let Some(value) = &self.authorization {
            let headers = request.headers_mut();
            headers
                .entry(header::AUTHORIZATION)
                .or_insert(value.clone());
        }
        let address = ServerAddress::of(request.uri()).ok_or(ClientError::InvalidRequest(None))?;
        let SpanAttributes(more) = request.extensions_mut().remove().unwrap_or_default();
        let call = ClientCall::start(request.method(), &address, more);
        if self.sends_context {
            inject(&call.context(), request.headers_mut());
        }
        let exchange = self
            .exchange(request, &address)
            .with_context(call.context());
        let result = match tokio::time::timeout(timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::Timeout {
                address: address.to_string(),
                timeout,
            }),
        };
        call.finish(&result);
        result
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that sends, inside a span"
    )]
    async fn exchange(
        &self,
        request: Request<Bytes>,
        address: &ServerAddress,
    ) -> Result<Response<Bytes>, ClientError> {
        let request = reqwest::Request::try_from(request)
            .map_err(|error| ClientError::InvalidRequest(Some(error.without_url())))?;
        let mut answer = self
            .inner
            .execute(request)
            .await
            .map_err(|error| broken_off(error, address))?;
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.version_mut() = answer.version();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        let body = read(&mut answer, address).await?;
        Ok(response.map(|()| body))
    }
}

async fn read(
    answer: &mut reqwest::Response,
    address: &ServerAddress,
) -> Result<Bytes, ClientError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| broken_off(error, address))?
    {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(ClientError::TooLarge {
                address: address.to_string(),
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn broken_off(source: reqwest::Error, address: &ServerAddress) -> ClientError {
    // Its text would repeat the whole address, with the values of its query.
    let source = source.without_url();
    let address = address.to_string();
    if source.is_connect() {
        ClientError::Connect { address, source }
    } else {
        ClientError::Transport { address, source }
    }
}

/// Writes the context into outgoing headers, also for services that use the client of another
/// library.
pub fn inject(context: &Context, headers: &mut HeaderMap) {
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(context, &mut HeaderInjector(headers));
    });
}
