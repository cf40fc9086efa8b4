//! The SERVER span of every request: a tower layer by the HTTP conventions of OpenTelemetry 1.44.
//!
//! The layer makes the span and the metrics, answers with `traceresponse`, answers 500 when a
//! handler panics, and injects the faults on purpose. Put it around the routes with
//! `Router::layer`, so that the matched route is known; health routes stay outside.

mod faults;
mod metrics;
mod request;
mod route;

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, Location};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Instant;

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::response::Response;
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, StatusCode};
use opentelemetry::context::FutureExt;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue, StringValue, global};
use tower::{Layer, Service};

use crate::attr;
use crate::fault::{self, Fault};
use crate::propagation::{self, HeaderLines};
use crate::span::{Span, builder, fail};
use faults::Unanswered;
use metrics::{RequestOutcome, count_active, record_duration};
use request::describe;
pub(crate) use request::{known_method, protocol_version, redact};

/// What the layer must know about the service that it wraps.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The name that faults on purpose are addressed to.
    pub service: &'static str,
    /// Whether faults on purpose are injected at all (`--allow-faults`).
    pub allow_faults: bool,
    /// Writes an error answer in the service's own protocol, for a fault on purpose and for a
    /// panic.
    pub fault_response: fn(StatusCode, &str) -> Response,
}

/// The address of a request's client as text, an extension of the request. It is written once for a
/// connection.
#[derive(Clone, Debug)]
pub struct ClientAddress(Arc<str>);

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        Self(address.to_string().into())
    }
}

/// `http` or `https`, by what the listener of a request answers: an extension of the request. Without
/// it a request came over `http`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme(pub &'static str);

impl Scheme {
    fn attribute(self) -> KeyValue {
        KeyValue::new(attr::URL_SCHEME, self.0)
    }
}

/// Why a request failed, as an extension of its response: the client gets a plain sentence, the
/// trace gets the error with its causes.
#[derive(Clone, Debug)]
pub struct RequestFailure {
    error: Arc<dyn Error + Send + Sync>,
    error_type: &'static str,
    at: &'static Location<'static>,
}

impl RequestFailure {
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
    S: Service<Request<Body>, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let options = self.options;
        let server_span = ServerSpan::start(&request);
        let context = server_span.span.context();
        let fault = options
            .allow_faults
            .then(|| fault::for_service(&context, options.service))
            .flatten();
        // Nothing of it runs before the first poll.
        let answer = self.inner.call(request);
        let answer = async move {
            match fault {
                None => answer.await,
                Some(Fault::Latency(delay)) => {
                    tokio::time::sleep(delay).await;
                    answer.await
                }
                Some(Fault::Error) => Ok(faults::error(options)),
                Some(Fault::Drop) => Ok(faults::dropped(options)),
            }
        };
        // Nothing of the request is used after a panic, and shared state is behind locks that a
        // panic releases.
        let answer = AssertUnwindSafe(answer.with_context(context)).catch_unwind();
        Box::pin(async move {
            let response = match answer.await {
                Ok(answered) => answered?,
                Err(panic) => faults::panicked(panic.as_ref(), options),
            };
            Ok(server_span.finish(response))
        })
    }
}

/// The span of a request under way. When it is dropped without [`ServerSpan::finish`], the client
/// has left.
struct ServerSpan {
    span: Span,
    start: Instant,
    method: &'static str,
    route: Option<Arc<str>>,
    version: &'static str,
    scheme: Scheme,
    finished: bool,
}

impl ServerSpan {
    fn start(request: &Request<Body>) -> Self {
        let (method, original) = known_method(request.method());
        let version = protocol_version(request.version());
        let scheme = request.extensions().get().copied();
        let scheme = scheme.unwrap_or(Scheme("http"));
        let shown = if original.is_some() { "HTTP" } else { method };
        let route: Option<&MatchedPath> = request.extensions().get();
        let route = route.map(|path| route::named(shown, path.as_str()));
        let (name, route) = route.unzip();
        let name = name.unwrap_or(Cow::Borrowed(shown));
        let path = request.uri().path();
        let path = match &route {
            Some(route) if **route == *path => Arc::clone(route).into(),
            _ => StringValue::from(path.to_owned()),
        };
        // Room for status code and error type as well, and for an attribute or two of the service.
        let mut attributes = Vec::with_capacity(14);
        attributes.extend([
            KeyValue::new(attr::HTTP_REQUEST_METHOD, method),
            KeyValue::new(attr::NETWORK_PROTOCOL_VERSION, version),
            scheme.attribute(),
            KeyValue::new(attr::URL_PATH, path),
        ]);
        if let Some(original) = original {
            let original = original.to_owned();
            attributes.push(KeyValue::new(attr::HTTP_REQUEST_METHOD_ORIGINAL, original));
        }
        if let Some(route) = route.clone() {
            attributes.push(KeyValue::new(attr::HTTP_ROUTE, route));
        }
        describe(request, &mut attributes);
        let parent = remote_parent(request);
        let span = Span::build(builder(name, SpanKind::Server, attributes), &parent);
        count_active(method, scheme, 1);
        Self {
            span,
            start: Instant::now(),
            method,
            route,
            version,
            scheme,
            finished: false,
        }
    }

    fn finish(mut self, mut response: Response) -> Response {
        let status = response.status();
        let answered = response.extensions().get::<Unanswered>().is_none();
        if answered {
            let code = i64::from(status.as_u16());
            self.span.set(attr::HTTP_RESPONSE_STATUS_CODE, code);
        }
        let error_type = status
            .is_server_error()
            .then(|| self.fail(status, response.extensions().get()));
        if let Some(value) = traceresponse(self.span.context_ref()) {
            response.headers_mut().insert("traceresponse", value);
        }
        self.record(answered.then_some(status), error_type);
        response
    }

    /// Marks the span as failed, by the failure that the service attached or else by the status
    /// alone.
    fn fail(&self, status: StatusCode, failure: Option<&RequestFailure>) -> KeyValue {
        let context = self.span.context_ref();
        if let Some(failure) = failure {
            let error = failure.error.as_ref();
            fail(context, error, failure.error_type, failure.at);
            return KeyValue::new(attr::ERROR_TYPE, failure.error_type);
        }
        let error_type = KeyValue::new(attr::ERROR_TYPE, status.as_str().to_owned());
        context.span().set_status(Status::error(""));
        context.span().set_attribute(error_type.clone());
        error_type
    }

    fn record(&mut self, status: Option<StatusCode>, error_type: Option<KeyValue>) {
        self.finished = true;
        count_active(self.method, self.scheme, -1);
        let outcome = RequestOutcome {
            status,
            method: self.method,
            route: self.route.take(),
            version: self.version,
            scheme: self.scheme,
        };
        record_duration(self.start.elapsed(), &outcome, error_type);
    }
}

impl Drop for ServerSpan {
    fn drop(&mut self) {
        if !self.finished {
            let cancelled = KeyValue::new(attr::ERROR_TYPE, "cancelled");
            let span = self.span.context_ref().span();
            span.set_attribute(cancelled.clone());
            self.record(None, Some(cancelled));
        }
    }
}

/// The context of the caller, from the headers of the request.
fn remote_parent(request: &Request<Body>) -> Context {
    global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &HeaderLines(request.headers()))
    })
}

/// `traceresponse` of W3C Trace Context level 2: the ids of the SERVER span, by which a caller can
/// find the trace. Without telemetry the context holds the caller's own span, so there is no
/// header.
fn traceresponse(context: &Context) -> Option<HeaderValue> {
    let span = context.span();
    let ids = span.span_context();
    if !ids.is_valid() || ids.is_remote() {
        return None;
    }
    let value = propagation::write(ids.trace_id(), ids.span_id(), ids.trace_flags());
    HeaderValue::try_from(value).ok()
}

#[cfg(test)]
mod tests;
