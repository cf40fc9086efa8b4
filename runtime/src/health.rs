//! Liveness and readiness: whether the process answers, and whether it can do its own job.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// Readiness of one service, shared by the parts that know something about it.
///
/// Readiness never asks another service: one slow dependency would make the whole fleet unready. A
/// degraded service stays ready and reports it in the detail.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<HealthState>,
}

#[derive(Debug, Default)]
struct HealthState {
    ready: AtomicBool,
    draining: AtomicBool,
    detail: Mutex<BTreeMap<&'static str, String>>,
}

impl Health {
    /// Not ready yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `GET /livez` and `GET /readyz`; they stay outside the telemetry layer, since probes are not
    /// traced.
    ///
    /// Write `health.routes().merge(traced)`: axum keeps the default fallback of the router that is
    /// merged in. The other way round, unknown paths would be answered without a span, unless the
    /// service has a fallback of its own.
    pub fn routes(&self) -> Router {
        let health = self.clone();
        Router::new()
            .route("/livez", get(|| async { Json(json!({"live": true})) }))
            .route("/readyz", get(move || async move { health.answer() }))
    }

    /// Sets whether the service can do its job.
    pub fn ready(&self, ready: bool) {
        self.state.ready.store(ready, Ordering::Release);
    }

    /// Whether new requests should come here; false while draining.
    pub fn is_ready(&self) -> bool {
        self.state.ready.load(Ordering::Acquire) && !self.is_draining()
    }

    /// Whether the process is on its way out.
    pub fn is_draining(&self) -> bool {
        self.state.draining.load(Ordering::Acquire)
    }

    /// Reports what is degraded under `key`, or with `None` that it is no longer.
    pub fn detail(&self, key: &'static str, text: Option<String>) {
        let mut detail = self.state.detail.lock();
        match text {
            Some(text) => detail.insert(key, text),
            None => detail.remove(key),
        };
    }

    pub(crate) fn drain(&self) {
        self.state.draining.store(true, Ordering::Release);
    }

    fn answer(&self) -> (StatusCode, Json<Value>) {
        let detail = self.state.detail.lock().clone();
        let status = if self.is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let body =
            json!({"ready": self.is_ready(), "draining": self.is_draining(), "detail": detail});
        (status, Json(body))
    }
}
