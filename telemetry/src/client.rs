//! The only HTTP client: a CLIENT span for each call, the trace context injected, one deadline for
//! the whole exchange.

mod address;
mod call;
mod connector;

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::{self, Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry::context::FutureExt;
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_http::HeaderInjector;

use crate::credentials;
pub use crate::tls::{CertificateError, ClientTls};
use address::ServerAddress;
use call::ClientCall;
use connector::Connector;

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
    inner: Client<Connector, Full<Bytes>>,
    authorization: Option<HeaderValue>,
    sends_context: bool,
}

/// Why there is no answer. An answer with an error status is an answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The request has no absolute `http` or `https` address, or the client cannot be built.
    #[error("the HTTP request cannot be sent")]
    InvalidRequest(#[source] Option<rustls::Error>),
    /// A certificate of the client cannot be used.
    #[error("cannot use the certificates of the HTTP client")]
    Certificates(#[from] CertificateError),
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why.
        source: legacy::Error,
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
        source: Box<dyn Error + Send + Sync>,
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
        let tls = tls.load()?.config();
        let tls = tls.map_err(|error| ClientError::InvalidRequest(Some(error)))?;
        let inner = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(Connector::new(tls));
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
        let call = ClientCall::start(&request, &address, more);
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

    async fn exchange(
        &self,
        mut request: Request<Bytes>,
        address: &ServerAddress,
    ) -> Result<Response<Bytes>, ClientError> {
        request
            .headers_mut()
            .entry(header::ACCEPT)
            .or_insert(HeaderValue::from_static("*/*"));
        let answer = self
            .answer(request)
            .await
            .map_err(|error| not_answered(error, address))?;
        let (head, body) = answer.into_parts();
        // A body that came in one piece is not copied.
        let body = Limited::new(body, MAX_RESPONSE_BYTES)
            .collect()
            .await
            .map_err(|error| not_read(error, address))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    /// The future of an `async fn` is compiled again in each crate that awaits it. This function is
    /// none, so that hyper's client is compiled here only.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that sends, inside a span"
    )]
    fn answer(&self, request: Request<Bytes>) -> ResponseFuture {
        self.inner.request(request.map(Full::new))
    }
}

// hyper's errors name neither the path nor the query of the address.

fn not_answered(source: legacy::Error, address: &ServerAddress) -> ClientError {
    let address = address.to_string();
    if source.is_connect() {
        ClientError::Connect { address, source }
    } else {
        let source = source.into();
        ClientError::Transport { address, source }
    }
}

fn not_read(source: Box<dyn Error + Send + Sync>, address: &ServerAddress) -> ClientError {
    let address = address.to_string();
    if source.is::<LengthLimitError>() {
        ClientError::TooLarge { address }
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

#[cfg(test)]
mod tests;
