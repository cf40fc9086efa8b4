//! The explorer without sockets, for `fuzz/` only; no part of the interface.

use std::sync::Arc;

use axum::Router;
use runtime::ProcessOptions;

use crate::facts::SpanFacts;
use crate::rules::Rules;
use crate::store::{MemoryLimits, TelemetryStore};
use crate::{api, receiver};

/// The receiver's routes and the read API's, over one empty store.
pub fn routers() -> (Router, Router) {
    let store = Arc::new(TelemetryStore::new(MemoryLimits {
        max_bytes: 4 * 1024 * 1024,
        max_traces: 100,
    }));
    let options = ProcessOptions::default();
    (
        receiver::router(Arc::clone(&store), &options),
        api::router(
            Arc::clone(&store),
            Rules::none(Arc::clone(&store)),
            SpanFacts::new(store),
            api::Outside::default(),
            &options,
        ),
    )
}
