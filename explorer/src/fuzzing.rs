//! The explorer without sockets, for `fuzz/` only; no part of the interface.

use std::sync::Arc;

use axum::Router;
use runtime::ProcessOptions;

use crate::facts::SpanFacts;
use crate::rules::Rules;
use crate::state::{ApiState, Outside};
use crate::store::{MemoryLimits, TelemetryStore};
use crate::{receiver, routes};

/// The receiver's routes and the read API's, over one empty store.
pub fn routers() -> (Router, Router) {
    let store = Arc::new(TelemetryStore::new(MemoryLimits {
        max_bytes: 4 * 1024 * 1024,
        max_traces: 100,
    }));
    let options = ProcessOptions::default();
    let state = ApiState {
        rules: Rules::none(Arc::clone(&store)),
        facts: SpanFacts::new(Arc::clone(&store)),
        store: Arc::clone(&store),
        pages: Arc::default(),
        outside: Outside::default(),
    };
    (
        receiver::router(store, &options),
        routes::router(state, &options),
    )
}
