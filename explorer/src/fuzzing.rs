//! The explorer without sockets, for `fuzz/` only; no part of the interface.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use runtime::ProcessOptions;

use crate::guard::Guard;
use crate::store::{Limits, Store};
use crate::{api, otlp};

/// The receiver's routes and the read API's, over one empty store.
pub fn routers() -> (Router, Router) {
    let store = Arc::new(Store::new(Limits {
        max_bytes: 4 * 1024 * 1024,
        max_traces: 100,
    }));
    let guard = Guard::of(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let options = ProcessOptions::default();
    (
        otlp::router(Arc::clone(&store), guard, &options),
        api::router(store, guard, &options),
    )
}
