//! One call: its CLIENT span and the duration metric, by the HTTP conventions of OpenTelemetry
//! 1.44.

use std::panic::Location;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};

use super::ClientError;
use super::address::ServerAddress;
use crate::attr;
use crate::fixed_map::FixedMap;
use crate::metrics::{BoundHistogram, HTTP_SECONDS, Histogram, histogram};
use crate::server::{known_method, protocol_version};
use crate::span::{Span, builder, fail};

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    histogram(
        attr::metric::HTTP_CLIENT_REQUEST_DURATION,
        "s",
        "Duration of HTTP client requests",
        HTTP_SECONDS,
    )
});
static BOUND: FixedMap<CallOutcome, BoundHistogram<f64>> = FixedMap::new();

/// A call under way. When it is dropped without [`ClientCall::finish`], the caller has cancelled
/// it.
pub(super) struct ClientCall {
    span: Span,
    start: Instant,
    target: CallTarget,
    finished: bool,
}

/// The attributes that every call of one method to one server has.
#[derive(Clone, PartialEq)]
struct CallTarget {
    method: &'static str,
    host: Arc<str>,
    port: u16,
}

/// The attributes of a call whose answer is no error.
#[derive(Clone, PartialEq)]
struct CallOutcome {
    status: u16,
    version: &'static str,
    target: CallTarget,
}

impl ClientCall {
    /// Starts the span; `more` are attributes beyond the conventions.
    pub(super) fn start(
        request: &Request<Bytes>,
        address: &ServerAddress,
        more: Vec<KeyValue>,
    ) -> Self {
        let (known, original) = known_method(request.method());
        let target = CallTarget {
            method: known,
            host: Arc::clone(&address.host),
            port: address.port,
        };
        let mut attributes = Vec::with_capacity(8);
        attributes.extend(target.attributes());
        attributes.push(KeyValue::new(attr::URL_FULL, address.shown(request.uri())));
        if let Some(original) = original {
            let original = original.to_owned();
            attributes.push(KeyValue::new(attr::HTTP_REQUEST_METHOD_ORIGINAL, original));
        }
        attributes.extend(more);
        let name = if original.is_some() { "HTTP" } else { known };
        let builder = builder(name, SpanKind::Client, attributes);
        Self {
            span: Span::build(builder, &Context::current()),
            start: Instant::now(),
            target,
            finished: false,
        }
    }

    pub(super) fn context(&self) -> Context {
        self.span.context()
    }

    /// Records the answer or the error, on the span and in the metric.
    pub(super) fn finish(mut self, result: &Result<Response<Bytes>, ClientError>) {
        match result {
            Ok(response) => self.answered(response),
            Err(error) => {
                let error_type = error.error_type();
                fail(
                    self.span.context_ref(),
                    error,
                    error_type,
                    Location::caller(),
                );
                self.record(&[KeyValue::new(attr::ERROR_TYPE, error_type)]);
            }
        }
    }

    fn answered(&mut self, response: &Response<Bytes>) {
        let status = response.status();
        let outcome = CallOutcome {
            status: status.as_u16(),
            version: protocol_version(response.version()),
            target: self.target.clone(),
        };
        let [code, version] = outcome.attributes();
        let span = self.span.context_ref().span();
        span.set_attributes([code.clone(), version.clone()]);
        // For a client both 4xx and 5xx are errors. The server logs the exception, so none is
        // logged here.
        if status.is_client_error() || status.is_server_error() {
            let error_type = KeyValue::new(attr::ERROR_TYPE, status.as_str().to_owned());
            span.set_status(Status::error(""));
            span.set_attribute(error_type.clone());
            return self.record(&[code, version, error_type]);
        }
        match BOUND.get_or_insert_with(&outcome, || outcome.bind()) {
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
            &[self.target.attributes().as_slice(), outcome].concat(),
        );
    }
}

impl Drop for ClientCall {
    fn drop(&mut self) {
        if !self.finished {
            let cancelled = KeyValue::new(attr::ERROR_TYPE, "cancelled");
            let span = self.span.context_ref().span();
            span.set_attribute(cancelled.clone());
            self.record(&[cancelled]);
        }
    }
}

impl CallTarget {
    fn attributes(&self) -> [KeyValue; 3] {
        [
            KeyValue::new(attr::HTTP_REQUEST_METHOD, self.method),
            KeyValue::new(attr::SERVER_ADDRESS, Arc::clone(&self.host)),
            KeyValue::new(attr::SERVER_PORT, i64::from(self.port)),
        ]
    }
}

impl CallOutcome {
    /// Those of the answer alone, without the target's.
    fn attributes(&self) -> [KeyValue; 2] {
        [
            KeyValue::new(attr::HTTP_RESPONSE_STATUS_CODE, i64::from(self.status)),
            KeyValue::new(attr::NETWORK_PROTOCOL_VERSION, self.version),
        ]
    }

    fn bind(&self) -> BoundHistogram<f64> {
        let target = self.target.attributes();
        DURATION.bind(&[target.as_slice(), &self.attributes()].concat())
    }
}
