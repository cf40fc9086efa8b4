//! The metrics of requests to a service.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::StatusCode;
use opentelemetry::KeyValue;

use super::Scheme;
use crate::attr;
use crate::fixed_map::FixedMap;
use crate::metrics::{
    BoundHistogram, BoundUpDownCounter, HTTP_SECONDS, Histogram, UpDownCounter, histogram,
    up_down_counter,
};

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
static BOUND_DURATIONS: FixedMap<RequestOutcome, BoundHistogram<f64>> = FixedMap::new();
static BOUND_ACTIVE: FixedMap<(&str, Scheme), BoundUpDownCounter<i64>> = FixedMap::new();

/// The attributes of the duration metric; failed requests have an error type as well.
#[derive(Clone, PartialEq)]
pub(super) struct RequestOutcome {
    /// `None` when no answer was sent.
    pub(super) status: Option<StatusCode>,
    pub(super) method: &'static str,
    pub(super) route: Option<Arc<str>>,
    pub(super) version: &'static str,
    pub(super) scheme: Scheme,
}

/// Records how long a request took, through a bound instrument for a usual answer.
pub(super) fn record_duration(
    duration: Duration,
    outcome: &RequestOutcome,
    error_type: Option<KeyValue>,
) {
    let seconds = duration.as_secs_f64();
    if outcome.status.is_some()
        && error_type.is_none()
        && let Some(bound) =
            BOUND_DURATIONS.get_or_insert_with(outcome, || DURATION.bind(&outcome.attributes()))
    {
        return bound.record(seconds);
    }
    let mut attributes = outcome.attributes();
    attributes.extend(error_type);
    DURATION.record(seconds, &attributes);
}

/// Adds `change` to the number of requests that are being answered.
pub(super) fn count_active(method: &'static str, scheme: Scheme, change: i64) {
    let attributes = || {
        [
            KeyValue::new(attr::HTTP_REQUEST_METHOD, method),
            scheme.attribute(),
        ]
    };
    match BOUND_ACTIVE.get_or_insert_with(&(method, scheme), || ACTIVE.bind(&attributes())) {
        Some(active) => active.add(change),
        None => ACTIVE.add(change, &attributes()),
    }
}

impl RequestOutcome {
    fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(6);
        attributes.extend([
            KeyValue::new(attr::HTTP_REQUEST_METHOD, self.method),
            KeyValue::new(attr::NETWORK_PROTOCOL_VERSION, self.version),
            self.scheme.attribute(),
        ]);
        if let Some(status) = self.status {
            let code = i64::from(status.as_u16());
            attributes.push(KeyValue::new(attr::HTTP_RESPONSE_STATUS_CODE, code));
        }
        if let Some(route) = self.route.clone() {
            attributes.push(KeyValue::new(attr::HTTP_ROUTE, route));
        }
        attributes
    }
}
