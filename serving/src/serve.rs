//! The accept loop: HTTP/1.1 with a limit on slow heads, and a drain that ends.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use crate::{Health, ProcessOptions, Shutdown};

/// A client that does not finish its request head in this time is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serving ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Requests were still in flight when the drain deadline passed; they were cut off.
    #[error("requests were still in flight after {} ms of draining", deadline.as_millis())]
    DrainTimedOut {
        /// The time that was given.
        deadline: Duration,
    },
}

/// Answers connections of `listener` until `shutdown`, then drains: readiness goes off, accepting stops, requests in
/// flight finish within the drain timeout.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    health: Health,
    options: &ProcessOptions,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => break,
        };
        match accepted {
            Ok((stream, peer)) => connection(stream, peer, router.clone(), &graceful),
            // Out of file descriptors or a connection reset before it was accepted: neither ends the service.
            Err(error) => {
                tracing::warn!(name: "server.accept_failed", %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    health.drain();
    drop(listener);
    tokio::time::timeout(options.drain_timeout, graceful.shutdown())
        .await
        .map_err(|_| ServeError::DrainTimedOut { deadline: options.drain_timeout })
}

#[expect(clippy::disallowed_methods, reason = "a connection has no trace context; each of its requests gets its own")]
fn connection(stream: TcpStream, peer: SocketAddr, router: Router, graceful: &GracefulShutdown) {
    // Small answers must not wait for the acknowledgement of earlier ones; failing to set it costs only time.
    let _ = stream.set_nodelay(true);
    let service = router.map_request(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        // Broken connections are the clients' affair; the span of the request tells what became of it.
        let _ = connection.await;
    });
}
