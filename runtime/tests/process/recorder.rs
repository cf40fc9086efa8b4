//! A collector that also keeps the heads of the exporter's requests, which are not telemetry.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use harness::{Collector, send_async};
use http::{HeaderMap, StatusCode, Uri};
use parking_lot::Mutex;

/// Keeps the head of every request, and forwards the request to a collector.
pub(crate) struct Recorder {
    address: SocketAddr,
    collector: Arc<Collector>,
    exports: Exports,
    _runtime: tokio::runtime::Runtime,
}

type Exports = Arc<Mutex<Vec<Export>>>;

/// The head of one request.
#[derive(Clone)]
pub(crate) struct Export {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (collector, exports) = (Arc::new(Collector::start()), Exports::default());
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new()
            .fallback(receive)
            .with_state((Arc::clone(&collector), Arc::clone(&exports)));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            collector,
            exports,
            _runtime: runtime,
        }
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn exports(&self) -> Vec<Export> {
        self.exports.lock().clone()
    }

    /// The first request to a path.
    pub(crate) fn export(&self, path: &str) -> Export {
        let mut exports = self.exports().into_iter();
        let export = exports.find(|export| export.path == path);
        export.unwrap_or_else(|| panic!("no request to {path}"))
    }
}

impl Deref for Recorder {
    type Target = Collector;

    fn deref(&self) -> &Collector {
        &self.collector
    }
}

async fn receive(
    State((collector, exports)): State<(Arc<Collector>, Exports)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let signal = uri.path().rsplit('/').next().unwrap_or_default();
    let url = format!("{}/v1/{signal}", collector.endpoint());
    let forwarded: Vec<(&str, &str)> = ["content-type", "content-encoding"]
        .into_iter()
        .filter_map(|name| Some((name, headers.get(name)?.to_str().ok()?)))
        .collect();
    let answer = send_async("POST", &url, &forwarded, body).await;
    let answer = answer.expect("the collector answers");
    let status = StatusCode::from_u16(answer.status).expect("a status");
    let content_type = answer.headers.get("content-type").cloned();
    exports.lock().push(Export {
        path: uri.path().to_owned(),
        headers,
    });
    match content_type {
        Some(value) => (status, [("content-type", value)], answer.body).into_response(),
        None => (status, answer.body).into_response(),
    }
}
