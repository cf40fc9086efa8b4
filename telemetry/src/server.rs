//! The SERVER span of every request: a tower layer by the HTTP conventions of OpenTelemetry 1.44.
//!
//! One layer makes the span and the metrics, answers with `traceresponse`, answers 500 when a handler panics, and suffers
//! the faults on purpose. It is put around the routes with `Router::layer`, so that the matched route is known; health
//! routes stay outside.

mod request;

use std::any::Any;
use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, Location};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{self, Poll};
use std::time::Instant;

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::response::Response;
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, StatusCode};
use opentelemetry::context::FutureExt;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_http::HeaderExtractor;
use tower::{Layer, Service};

use crate::attr;
use crate::bound::Sets;
use crate::fault::{self, Fault, Injected};
use crate::metrics::{
    BoundHistogram, BoundUpDownCounter, HTTP_SECONDS, Histogram, UpDownCounter, histogram,
    up_down_counter,
};
use crate::propagation;
use crate::span::{Span, builder, fail};
use request::describe;
pub(crate) use request::{method, protocol_version, redact};

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    histogram(
        attr::metric::HTTP_SERVER_REQUEST_DURATION,
        "s",
        "Duration of HTTP server requests",
        HTTP_SECONDS,
    )
});
static ACTIVE: LazyLock<UpDownCounter<i64>> = LazyLock::new(|| {
    up_down_counter(
        attr::metric::HTTP_SERVER_ACTIVE_REQUESTS,
        "{request}",
        "Requests that are being answered",
    )
});
static ANSWERED: Sets<Answered, BoundHistogram<f64>> = Sets::new();
static ACTIVE_BY_METHOD: Sets<&str, BoundUpDownCounter<i64>> = Sets::new();

/// What the layer must know of the service that it wraps.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The name that faults on purpose are addressed to.
    pub service: &'static str,
    /// Whether faults on purpose are suffered at all (`--allow-faults`).
    pub allow_faults: bool,
    /// Writes an error answer in the service's own protocol, for a fault on purpose and for a panic.
    pub fault_response: fn(StatusCode, &str) -> Response,
}

/// The address of a request's client as text, an extension of the request. It is written once for a connection.
#[derive(Clone, Debug)]
pub struct ClientAddress(Arc<str>);

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        Self(address.to_string().into())
    }
}

/// What a service tells the layer of a failed request, as an extension of its response: the client sees a plain
/// sentence, the trace gets the whole chain of causes.
#[derive(Clone, Debug)]
pub struct Failure {
    error: Arc<dyn Error + Send + Sync>,
    error_type: &'static str,
    at: &'static Location<'static>,
}

impl Failure {
    /// `error_type` is a bounded word for `error.type`.
    #[track_caller]
    pub fn new(error: impl Error + Send + Sync + 'static, error_type: &'static str) -> Self {
        Self {
            error: Arc::new(error),
            error_type,
            at: Location::caller(),
        }
    }
}

/// The layer; see [`layer`].
#[derive(Clone, Copy, Debug)]
pub struct ServerLayer {
    options: Options,
}

/// Makes the layer that gives every request its SERVER span.
pub fn layer(options: Options) -> ServerLayer {
    ServerLayer { options }
}

impl<S> Layer<S> for ServerLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced {
            inner,
            options: self.options,
        }
    }
}

/// A service whose requests have spans.
#[derive(Clone, Debug)]
pub struct Traced<S> {
    inner: S,
    options: Options,
}

impl<S> Service<Request<Body>> for Traced<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let options = self.options;
        let exchange = Exchange::start(&request);
        let context = exchange.span.context();
        let fault = options
            .allow_faults
            .then(|| fault::for_service(&context, options.service))
            .flatten();
        // The service that was polled ready is the one to call; its clone waits for the next request.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let answer = async move {
            match fault {
                None => inner.call(request).await,
                Some(Fault::Latency(delay)) => {
                    tokio::time::sleep(delay).await;
                    inner.call(request).await
                }
                Some(broken) => Ok(suffer(broken, options)),
            }
        };
        // After a panic nothing of the request is used again, and state that others share is behind locks that they unpoison.
        let answer = AssertUnwindSafe(answer.with_context(context)).catch_unwind();
        Box::pin(async move {
            let response = match answer.await {
                Ok(answered) => answered?,
                Err(panic) => panicked(panic.as_ref(), options),
            };
            Ok(exchange.finish(response))
        })
    }
}

/// One request under way. Dropped without [`Exchange::finish`], it tells of a client that left.
struct Exchange {
    span: Span,
    start: Instant,
    method: &'static str,
    route: Option<Arc<str>>,
    version: &'static str,
    finished: bool,
}

/// What a usual answer is counted by; those that failed have an error type as well.
#[derive(Clone, PartialEq)]
struct Answered {
    status: u16,
    method: &'static str,
    route: Option<Arc<str>>,
    version: &'static str,
}

/// TLS, where there is any, ends before the service. Made of static texts, so it costs no allocation.
fn scheme() -> KeyValue {
    KeyValue::new(attr::URL_SCHEME, "http")
}

impl Exchange {
    fn start(request: &Request<Body>) -> Self {
        let (method, original) = method(request.method());
        // One shared text for the span and the metric.
        let route: Option<Arc<str>> = request
            .extensions()
            .get::<MatchedPath>()
            .map(|path| path.as_str().into());
        let shown = if original.is_some() { "HTTP" } else { method };
        let name = route.as_ref().map_or(Cow::Borrowed(shown), |route| {
            [shown, " ", route].concat().into()
        });
        let version = protocol_version(request.version());
        // Room for what is known at the end as well: status code and error type, and an attribute or two of the service.
        let mut attributes = Vec::with_capacity(14);
        attributes.extend([
            KeyValue::new(attr::HTTP_REQUEST_METHOD, method),
            KeyValue::new(attr::NETWORK_PROTOCOL_VERSION, version),
            scheme(),
        ]);
        attributes.push(KeyValue::new(
            attr::URL_PATH,
            request.uri().path().to_owned(),
        ));
        attributes.extend(original.map(|original| {
            KeyValue::new(attr::HTTP_REQUEST_METHOD_ORIGINAL, original.to_owned())
        }));
        attributes.extend(
            route
                .clone()
                .map(|route| KeyValue::new(attr::HTTP_ROUTE, route)),
        );
        describe(request, &mut attributes);
        let parent = global::get_text_map_propagator(|propagator| {
            propagator.extract_with_context(&Context::new(), &HeaderExtractor(request.headers()))
        });
        let span = Span::build(builder(name, SpanKind::Server, attributes), &parent);
        count_active(method, 1);
        Self {
            span,
            start: Instant::now(),
            method,
            route,
            version,
            finished: false,
        }
    }

    fn finish(mut self, mut response: Response) -> Response {
        let status = response.status();
        let answered = response
            .extensions()
            .get::<Unanswered>()
            .is_none()
            .then(|| status.as_u16());
        if let Some(code) = answered {
            self.span
                .set(attr::HTTP_RESPONSE_STATUS_CODE, i64::from(code));
        }
        let error_type = status
            .is_server_error()
            .then(|| self.fail(status, response.extensions().get()));
        if let Some(value) = traceresponse(self.span.context_ref()) {
            response.headers_mut().insert("traceresponse", value);
        }
        self.record(answered, error_type);
        response
    }

    /// Marks the span as failed by what the service told of the error, or else by the status alone.
    fn fail(&self, status: StatusCode, failure: Option<&Failure>) -> KeyValue {
        let context = self.span.context_ref();
        if let Some(failure) = failure {
            fail(
                context,
                failure.error.as_ref(),
                failure.error_type,
                failure.at,
            );
            return KeyValue::new(attr::ERROR_TYPE, failure.error_type);
        }
        let error_type = KeyValue::new(attr::ERROR_TYPE, status.as_str().to_owned());
        context.span().set_status(Status::error(""));
        context.span().set_attribute(error_type.clone());
        error_type
    }

    fn record(&mut self, status: Option<u16>, error_type: Option<KeyValue>) {
        self.finished = true;
        count_active(self.method, -1);
        let seconds = self.start.elapsed().as_secs_f64();
        let Self {
            method, version, ..
        } = *self;
        let answered = Answered {
            status: status.unwrap_or_default(),
            method,
            route: self.route.take(),
            version,
        };
        if status.is_some()
            && error_type.is_none()
            && let Some(duration) = ANSWERED.find(&answered, || DURATION.bind(&answered.labels()))
        {
            return duration.record(seconds);
        }
        let mut labels = answered.labels();
        labels.extend(error_type);
        DURATION.record(seconds, &labels);
    }
}

impl Answered {
    fn labels(&self) -> Vec<KeyValue> {
        let mut labels = Vec::with_capacity(6);
        labels.extend([
            KeyValue::new(attr::HTTP_REQUEST_METHOD, self.method),
            KeyValue::new(attr::NETWORK_PROTOCOL_VERSION, self.version),
            scheme(),
        ]);
        if self.status != 0 {
            labels.push(KeyValue::new(
                attr::HTTP_RESPONSE_STATUS_CODE,
                i64::from(self.status),
            ));
        }
        labels.extend(
            self.route
                .clone()
                .map(|route| KeyValue::new(attr::HTTP_ROUTE, route)),
        );
        labels
    }
}

fn count_active(method: &'static str, change: i64) {
    let labels = || [KeyValue::new(attr::HTTP_REQUEST_METHOD, method), scheme()];
    match ACTIVE_BY_METHOD.find(&method, || ACTIVE.bind(&labels())) {
        Some(active) => active.add(change),
        None => ACTIVE.add(change, &labels()),
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.finished {
            let left = KeyValue::new(attr::ERROR_TYPE, "cancelled");
            self.span.context_ref().span().set_attribute(left.clone());
            self.record(None, Some(left));
        }
    }
}

/// Marks a response whose head never leaves.
#[derive(Clone, Copy)]
struct Unanswered;

/// A handler panicked.
#[derive(Debug, thiserror::Error)]
#[error("panic while answering: {message}")]
struct Panicked {
    message: String,
}

/// The client gets an answer and no reason; the message of the panic goes into the trace and the log.
fn panicked(panic: &(dyn Any + Send), options: Options) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let panicked = Panicked {
        message: text.unwrap_or("no message").to_owned(),
    };
    let mut response =
        (options.fault_response)(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
    response
        .extensions_mut()
        .insert(Failure::new(panicked, "panic"));
    response
}

fn suffer(fault: Fault, options: Options) -> Response {
    let kind = if fault == Fault::Drop {
        "drop"
    } else {
        "error"
    };
    let injected = Injected {
        kind,
        service: options.service,
    };
    let mut response = if fault == Fault::Drop {
        // A body that fails at its first poll makes hyper close the connection before it has written the head.
        let broken = futures_util::stream::once(async {
            Err::<bytes::Bytes, _>(std::io::Error::other("dropped on purpose"))
        });
        let mut response = Response::new(Body::from_stream(broken));
        response.extensions_mut().insert(Unanswered);
        response
    } else {
        (options.fault_response)(StatusCode::INTERNAL_SERVER_ERROR, &injected.to_string())
    };
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
        .extensions_mut()
        .insert(Failure::new(injected, "fault_injected"));
    response
}

/// `traceresponse` of W3C Trace Context level 2: the ids of the SERVER span, so that a caller can ask for the trace.
/// Without telemetry the context holds the caller's own span, which is no answer.
fn traceresponse(context: &Context) -> Option<HeaderValue> {
    let span = context.span();
    let ids = span.span_context();
    if !ids.is_valid() || ids.is_remote() {
        return None;
    }
    HeaderValue::try_from(propagation::write(ids, ids.trace_flags())).ok()
}

#[cfg(test)]
mod tests;
