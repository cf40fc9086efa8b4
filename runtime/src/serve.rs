//! The accept loop: HTTP/1.1 with a limit on slow heads, and a drain that ends.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use telemetry::server::ClientAddress;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::health::Health;
use crate::options::ProcessOptions;
use crate::shutdown::Shutdown;

/// How long a drain waits for the first request of a connection, which its client opened in time.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// Connections that are taken out of the kernel's queue when accepting stops; no more, or a flood
/// could hold the drain.
const LAST_CONNECTIONS: usize = 1024;

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

/// Answers connections of `listener` until `shutdown`, then drains: readiness goes off, accepting
/// stops, requests in flight finish within the drain timeout.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    health: Health,
    options: &ProcessOptions,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let (connections, gone) = Connections::new(router, options, &shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => break,
        };
        match accepted {
            Ok((stream, peer)) => connections.open(stream, peer),
            // Out of file descriptors or a connection reset before it was accepted: neither ends
            // the service.
            Err(error) => {
                tracing::warn!(name: "server.accept_failed", %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    health.drain();
    // The clients of these connections are already connected; closing the listener would reset
    // them.
    for _ in 0..LAST_CONNECTIONS {
        let Some((stream, peer)) = waiting(&listener).await else {
            break;
        };
        connections.open(stream, peer);
    }
    drop(listener);
    connections.drain(gone, options.drain_timeout).await
}

/// The next connection that already waits in the kernel's queue.
async fn waiting(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    poll_fn(|task| match listener.poll_accept(task) {
        Poll::Ready(accepted) => Poll::Ready(accepted.ok()),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// All open connections of a listener.
struct Connections {
    router: Router,
    header_timeout: Duration,
    shutdown: Shutdown,
    in_flight: Arc<AtomicUsize>,
    /// Each connection holds a clone; the receiver ends when the last one is dropped.
    alive: mpsc::Sender<Infallible>,
}

impl Connections {
    fn new(
        router: Router,
        options: &ProcessOptions,
        shutdown: &Shutdown,
    ) -> (Self, mpsc::Receiver<Infallible>) {
        let (alive, gone) = mpsc::channel(1);
        let (shutdown, in_flight) = (shutdown.clone(), Arc::default());
        (
            Self {
                router,
                header_timeout: options.header_timeout,
                shutdown,
                in_flight,
                alive,
            },
            gone,
        )
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a connection has no trace context; each of its requests gets its own"
    )]
    fn open(&self, stream: TcpStream, peer: SocketAddr) {
        // Small answers must not wait for the acknowledgement of earlier ones. A failure costs only
        // time.
        let _ = stream.set_nodelay(true);
        let has_request = Arc::new(AtomicBool::new(false));
        let service = {
            let (router, in_flight, has_request) = (
                self.router.clone(),
                Arc::clone(&self.in_flight),
                Arc::clone(&has_request),
            );
            let client = ClientAddress::from(peer.ip());
            service_fn(move |request| {
                has_request.store(true, Ordering::Release);
                answer(
                    router.clone(),
                    request,
                    client.clone(),
                    InFlight::enter(&in_flight),
                )
            })
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .serve_connection(TokioIo::new(stream), service);
        let (shutdown, alive) = (self.shutdown.clone(), self.alive.clone());
        tokio::spawn(async move {
            let _alive = alive;
            let mut connection = pin!(connection);
            // A broken connection is not logged: the span of its request has the outcome.
            tokio::select! {
                _ = connection.as_mut() => return,
                () = shutdown.wait() => {}
            }
            // hyper closes a connection without a request at once, although its first one may be on
            // the way (https://github.com/hyperium/hyper/issues/3792).
            if !has_request.load(Ordering::Acquire)
                && tokio::time::timeout(FIRST_REQUEST, connection.as_mut())
                    .await
                    .is_ok()
            {
                return;
            }
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        });
    }

    async fn drain(
        self,
        mut gone: mpsc::Receiver<Infallible>,
        deadline: Duration,
    ) -> Result<(), ServeError> {
        let Self {
            alive, in_flight, ..
        } = self;
        drop(alive);
        let in_time = tokio::time::timeout(deadline, gone.recv()).await.is_ok();
        // A connection that waits for no answer, for example after half a request head, is cut off
        // without an error.
        if in_time || in_flight.load(Ordering::Acquire) == 0 {
            Ok(())
        } else {
            Err(ServeError::DrainTimedOut { deadline })
        }
    }
}

async fn answer(
    router: Router,
    request: hyper::Request<Incoming>,
    client: ClientAddress,
    _entered: InFlight,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(client);
    router.oneshot(request).await
}

/// Counts one request for as long as it lives, also when the client leaves or the handler panics.
struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
