//! Liveness and readiness: the process answers, and it can do its own job.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};

/// Readiness of one service, shared by whoever knows something about it.
///
/// Readiness never asks another service: one slow dependency would take the whole fleet out. What is degraded shows in
/// the detail and leaves the service ready.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: AtomicBool,
    draining: AtomicBool,
    detail: Mutex<BTreeMap<&'static str, String>>,
}

impl Health {
    /// Not ready yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `GET /livez` and `GET /readyz`; they stay outside the telemetry layer, since probes are not traced.
    ///
    /// Write `health.routes().merge(traced)`: of two routers axum keeps the default fallback of the one that is merged in,
    /// and the other way round unknown paths would be answered without a span (a fallback of the service's own is safe).
    pub fn routes(&self) -> Router {
        let this = self.clone();
        Router::new()
            .route("/livez", get(|| async { Json(json!({"live": true})) }))
            .route("/readyz", get(move || async move { this.answer() }))
    }

    /// The service can do its job, or cannot.
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

    /// Says what is degraded, or with `None` that it is well again.
    pub fn detail(&self, key: &'static str, text: Option<String>) {
        let mut detail = self
            .state
            .detail
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match text {
            Some(text) => detail.insert(key, text),
            None => detail.remove(key),
        };
    }

    pub(crate) fn drain(&self) {
        self.state.draining.store(true, Ordering::Release);
    }

    fn answer(&self) -> (StatusCode, Json<Value>) {
        let detail = self
            .state
            .detail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
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
