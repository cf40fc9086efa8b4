//! The only HTTP client: a CLIENT span for each call, the trace context injected, one deadline for the whole exchange.

use std::panic::Location;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, Uri};
use opentelemetry::context::FutureExt;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_http::HeaderInjector;

use crate::attr;
use crate::bound::Sets;
use crate::metrics::{BoundHistogram, HTTP_SECONDS, Histogram, histogram};
use crate::span::{Span, builder, fail};

/// The largest answer that is read into memory.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// Idle connections are given up sooner than the services close them (`--header-timeout`, 10 s): a request that meets a
/// closing connection would be lost, and a POST is not sent twice.
const POOL_IDLE: Duration = Duration::from_secs(5);

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    histogram(
        attr::metric::HTTP_CLIENT_REQUEST_DURATION,
        "s",
        "Duration of HTTP client requests",
        HTTP_SECONDS,
    )
});
static ANSWERED: Sets<Answered, BoundHistogram<f64>> = Sets::new();

/// What a caller has to say of one call beyond the conventions, such as `ml.variant`: an extension of its request.
#[derive(Clone, Debug, Default)]
pub struct SpanAttributes(pub Vec<KeyValue>);

/// A pool of connections that cannot be used without tracing. Cloning shares the pool.
#[derive(Clone, Debug)]
pub struct HttpClient {
    inner: reqwest::Client,
}

/// Why there is no answer. An answer with an error status is an answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The request has no absolute `http` or `https` address, or the client cannot be built.
    #[error("the HTTP request cannot be sent")]
    InvalidRequest(#[source] Option<reqwest::Error>),
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
            Self::InvalidRequest(_) => "invalid_request",
            Self::Connect { .. } => "connect_error",
            Self::Timeout { .. } => "timeout",
            Self::Transport { .. } => "transport_error",
            Self::TooLarge { .. } => "response_too_large",
        }
    }
}

impl HttpClient {
    /// A client without redirects, cookies or proxies: its hops are inside the system.
    #[expect(clippy::disallowed_methods, reason = "the one traced client")]
    pub fn new() -> Result<Self, ClientError> {
        let inner = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Who asks for a compressed answer, such as a client behind the gateway, gets it as it came.
            .no_gzip()
            .connect_timeout(Duration::from_secs(2))
            .pool_idle_timeout(POOL_IDLE)
            .build()
            .map_err(|error| ClientError::InvalidRequest(Some(error)))?;
        Ok(Self { inner })
    }

    /// Sends one request and reads the whole answer, all within `timeout`, in a span named after the method. The span also
    /// has the [`SpanAttributes`] of the request's extensions.
    pub async fn send(
        &self,
        mut request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, ClientError> {
        let address = Address::of(request.uri()).ok_or(ClientError::InvalidRequest(None))?;
        let more = request
            .extensions_mut()
            .remove::<SpanAttributes>()
            .unwrap_or_default();
        let call = Call::start(request.method(), &address, more);
        inject(call.span.context_ref(), request.headers_mut());
        let exchange = self
            .exchange(request, &address)
            .with_context(call.span.context());
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
        address: &Address,
    ) -> Result<Response<Bytes>, ClientError> {
        let request = reqwest::Request::try_from(request)
            .map_err(|error| ClientError::InvalidRequest(Some(error)))?;
        let broken = |source: reqwest::Error| {
            let address = address.to_string();
            if source.is_connect() {
                ClientError::Connect { address, source }
            } else {
                ClientError::Transport { address, source }
            }
        };
        let mut answer = self.inner.execute(request).await.map_err(broken)?;
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.version_mut() = answer.version();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        let body = read(&mut answer, address).await?;
        Ok(response.map(|()| body))
    }
}

async fn read(answer: &mut reqwest::Response, address: &Address) -> Result<Bytes, ClientError> {
    let mut body = BytesMut::new();
    let next = |answer: reqwest::Result<Option<Bytes>>| {
        answer.map_err(|source| ClientError::Transport {
            address: address.to_string(),
            source,
        })
    };
    while let Some(chunk) = next(answer.chunk().await)? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(ClientError::TooLarge {
                address: address.to_string(),
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Writes the context into outgoing headers. Services that speak through another library's client use it too.
pub fn inject(context: &Context, headers: &mut HeaderMap) {
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(context, &mut HeaderInjector(headers))
    });
}

/// One call under way. Dropped without [`Call::finish`], it tells of a caller that lost interest.
struct Call {
    span: Span,
    start: Instant,
    asked: Asked,
    finished: bool,
}

/// Whom a call asks, as the metric tells it.
#[derive(Clone, PartialEq)]
struct Asked {
    method: &'static str,
    host: Arc<str>,
    port: u16,
}

/// What a usual answer is counted by; those with an error status have an error type as well.
#[derive(Clone, PartialEq)]
struct Answered {
    status: u16,
    version: &'static str,
    asked: Asked,
}

impl Call {
    fn start(method: &Method, address: &Address, more: SpanAttributes) -> Self {
        let (bounded, original) = crate::server::method(method);
        let asked = Asked {
            method: bounded,
            host: Arc::clone(&address.host),
            port: address.port,
        };
        let mut attributes = Vec::with_capacity(8);
        attributes.extend(asked.labels());
        attributes.push(KeyValue::new(attr::URL_FULL, address.url.clone()));
        attributes.extend(original.map(|original| {
            KeyValue::new(attr::HTTP_REQUEST_METHOD_ORIGINAL, original.to_owned())
        }));
        attributes.extend(more.0);
        let name = if original.is_some() { "HTTP" } else { bounded };
        let span = Span::build(
            builder(name, SpanKind::Client, attributes),
            &Context::current(),
        );
        Self {
            span,
            start: Instant::now(),
            asked,
            finished: false,
        }
    }

    fn finish(mut self, result: &Result<Response<Bytes>, ClientError>) {
        match result {
            Ok(response) => self.answered(response),
            Err(error) => {
                fail(
                    self.span.context_ref(),
                    error,
                    error.error_type(),
                    Location::caller(),
                );
                self.record(&[KeyValue::new(attr::ERROR_TYPE, error.error_type())]);
            }
        }
    }

    fn answered(&mut self, response: &Response<Bytes>) {
        let status = response.status();
        let version = crate::server::protocol_version(response.version());
        let answered = Answered {
            status: status.as_u16(),
            version,
            asked: self.asked.clone(),
        };
        let [code, version] = answered.labels();
        let span = self.span.context_ref().span();
        span.set_attributes([code.clone(), version.clone()]);
        // For a client both 4xx and 5xx are errors; the server tells the exception, so none is logged here.
        if status.is_client_error() || status.is_server_error() {
            let error_type = KeyValue::new(attr::ERROR_TYPE, status.as_str().to_owned());
            span.set_status(Status::error(""));
            span.set_attribute(error_type.clone());
            return self.record(&[code, version, error_type]);
        }
        match ANSWERED.find(&answered, || {
            DURATION.bind(&all(&answered.asked, &answered.labels()))
        }) {
            Some(duration) => {
                self.finished = true;
                duration.record(self.start.elapsed().as_secs_f64());
            }
            None => self.record(&[code, version]),
        }
    }

    fn record(&mut self, outcome: &[KeyValue]) {
        self.finished = true;
        DURATION.record(
            self.start.elapsed().as_secs_f64(),
            &all(&self.asked, outcome),
        );
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.finished {
            let left = KeyValue::new(attr::ERROR_TYPE, "cancelled");
            self.span.context_ref().span().set_attribute(left.clone());
            self.record(&[left]);
        }
    }
}

impl Asked {
    fn labels(&self) -> [KeyValue; 3] {
        [
            KeyValue::new(attr::HTTP_REQUEST_METHOD, self.method),
            KeyValue::new(attr::SERVER_ADDRESS, Arc::clone(&self.host)),
            KeyValue::new(attr::SERVER_PORT, i64::from(self.port)),
        ]
    }
}

impl Answered {
    /// Without those of [`Asked`].
    fn labels(&self) -> [KeyValue; 2] {
        [
            KeyValue::new(attr::HTTP_RESPONSE_STATUS_CODE, i64::from(self.status)),
            KeyValue::new(attr::NETWORK_PROTOCOL_VERSION, self.version),
        ]
    }
}

/// All attributes of the metric.
fn all(asked: &Asked, outcome: &[KeyValue]) -> Vec<KeyValue> {
    [asked.labels().as_slice(), outcome].concat()
}

/// Host and port of a request, and its address as the span may show it: without credentials and query values.
struct Address {
    host: Arc<str>,
    port: u16,
    url: String,
}

impl Address {
    fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?;
        let port = uri.port_u16().or(match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        })?;
        // `Uri` leaves the brackets on an IPv6 address; the conventions want the bare address.
        let shown = uri.host()?;
        let host = shown.trim_start_matches('[').trim_end_matches(']').into();
        let mut url = format!("{scheme}://{shown}:{port}{}", uri.path());
        if let Some(query) = uri.query() {
            url.push('?');
            url.push_str(&crate::server::redact(query));
        }
        Some(Self { host, port, url })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            return write!(formatter, "[{}]:{}", self.host, self.port);
        }
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests;
