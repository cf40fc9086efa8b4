//! What is asked of the gateway: one wine or one text, and how.

use std::time::Duration;

use axum::http::{self, Request};
use bytes::Bytes;
use serde_json::json;
use telemetry::SpanRef;

/// The services that a fault can be asked of.
pub(crate) const SERVICES: [&str; 4] = [
    "gateway",
    "model-service",
    "model-service-python",
    "feature-store",
];
/// The longest delay on purpose, as the services have it.
pub(crate) const MAX_LATENCY_MS: u64 = 5_000;
/// Bytes of a text; the gateway's own limit is larger.
pub(crate) const MAX_TEXT: usize = 4_000;

/// A request for one prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) model: String,
    pub(crate) subject: Subject,
    /// Without one the gateway chooses.
    pub(crate) variant: Option<String>,
    pub(crate) cache: Cache,
    pub(crate) fault: Option<Fault>,
}

/// What the prediction is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Entity(String),
    Text(String),
}

/// How the prediction store is used (RFC 9111, section 5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cache {
    #[default]
    Use,
    /// Compute again, and store.
    Refresh,
    /// Compute again, and do not store.
    Bypass,
}

/// A fault on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) service: &'static str,
    pub(crate) kind: FaultKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    Latency(Duration),
    Error,
    Drop,
}

impl Cache {
    pub(crate) fn directive(self) -> Option<&'static str> {
        match self {
            Cache::Use => None,
            Cache::Refresh => Some("no-cache"),
            Cache::Bypass => Some("no-store"),
        }
    }
}

impl Fault {
    /// As the baggage has it (docs/telemetry.md).
    pub(crate) fn text(&self) -> String {
        let service = self.service;
        match self.kind {
            FaultKind::Latency(time) => format!("{service}:latency:{}", time.as_millis()),
            FaultKind::Error => format!("{service}:error"),
            FaultKind::Drop => format!("{service}:drop"),
        }
    }
}

impl Ask {
    /// The request, as a child of `span`.
    pub(super) fn request(
        &self,
        gateway: &str,
        span: &SpanRef,
    ) -> Result<Request<Bytes>, http::Error> {
        let mut request = Request::post(format!("{gateway}/v1/predictions"))
            .header("content-type", "application/json")
            .header("user-agent", "throughline-explorer")
            .header("traceparent", span.traceparent());
        if let Some(directive) = self.cache.directive() {
            request = request.header("cache-control", directive);
        }
        if let Some(baggage) = self.baggage() {
            request = request.header("baggage", baggage);
        }
        request.body(self.body().to_string().into())
    }

    /// The body of the request.
    pub(crate) fn body(&self) -> serde_json::Value {
        match &self.subject {
            Subject::Entity(id) => json!({"model": self.model, "data_ids": [id]}),
            Subject::Text(text) => json!({"model": self.model, "texts": [text]}),
        }
    }

    fn baggage(&self) -> Option<String> {
        let variant = self.variant.as_ref();
        let variant = variant.map(|variant| format!("ml.variant={variant}"));
        let fault = self.fault.as_ref();
        let fault = fault.map(|fault| format!("fault={}", fault.text()));
        let members: Vec<String> = variant.into_iter().chain(fault).collect();
        (!members.is_empty()).then(|| members.join(","))
    }
}
