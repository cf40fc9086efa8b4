//! The accept loop: HTTP/1.1 with a guard, limits on heads, connections and unread answers, and a
//! drain that ends.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::HeaderValue;
use http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use telemetry::server::{self, ClientAddress, Scheme};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::connections::{Connection, Connections, InFlight};
use crate::guard::Guard;
use crate::health::Health;
use crate::limits::Cut;
use crate::options::ProcessOptions;
use crate::refusal::{Refusal, Refuse, Refused};
use crate::shutdown::{Shutdown, Trigger};
use crate::tls::{Current, Stream, Tls, TlsError};
use crate::write_timeout::WriteTimeout;

/// How long a drain waits for one more request of an open connection: it may be on the way, and its
/// client cannot know whether it was processed if the connection is closed under it.
const NEXT_REQUEST: Duration = Duration::from_millis(500);
/// How long the answers to requests that are cut off may take to leave.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// Connections that are taken out of the kernel's queue when accepting stops; no more, or a flood
/// could hold the drain.
const LAST_CONNECTIONS: usize = 1024;
/// Bytes of a request's head, and of an answer in the buffer of its connection.
const MAX_BUFFER: usize = 64 * 1024;
/// The answer to a connection for which there is no room.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    connection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";

/// Serving ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener does not know its address.
    #[error("the listener has no address")]
    Address(#[source] std::io::Error),
    /// The certificates cannot be used.
    #[error("cannot answer HTTPS; see --tls-cert, --tls-key and --tls-client-ca")]
    Tls(#[from] TlsError),
    /// Requests were still in flight when the drain deadline passed; they were cut off.
    #[error("requests were still in flight after {} ms of draining", deadline.as_millis())]
    DrainTimedOut {
        /// The time that was given.
        deadline: Duration,
    },
}

/// What answers the requests of a listener.
#[derive(Clone)]
pub struct App {
    router: Router,
    /// Answers the requests that the guard refuses, by their extension [`Refusal`].
    refused: Router,
    asks_for_keys: bool,
}

impl App {
    /// A router behind the guard. `refuse` writes the guard's refusals, which have spans if
    /// `traced` is there.
    pub fn new(router: Router, refuse: Refuse, traced: Option<server::Options>) -> Self {
        let answer = move |request: Request| async move {
            let refusal = request.extensions().get().copied();
            let refusal = refusal.unwrap_or(Refusal::InvalidHost);
            refusal.finish(refuse(&Refused::of(&request), refusal))
        };
        let refused = Router::new().fallback(answer);
        let refused = match traced {
            Some(options) => refused.layer(server::layer(options)),
            None => refused,
        };
        Self {
            router,
            refused,
            asks_for_keys: false,
        }
    }

    /// Notes that the router answers nobody without a key.
    pub fn asking_for_keys(self, asks_for_keys: bool) -> Self {
        Self {
            asks_for_keys,
            ..self
        }
    }

    /// The router without the guard, for tests that have no socket.
    pub fn into_router(self) -> Router {
        self.router
    }
}

/// Answers connections of `listener` until `shutdown`, then drains: readiness goes off, accepting
/// stops, requests in flight finish within the drain timeout.
pub async fn serve(
    listener: TcpListener,
    app: App,
    health: Health,
    options: &ProcessOptions,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Address)?;
    warn_if_exposed(address, app.asks_for_keys, options);
    let tls = Tls::start(&options.tls).await?;
    let (certificates, _following) = tls.map(|tls| tls.follow(health.clone())).unzip();
    let (server, gone) = Server::new(app, address, options, certificates, &shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => break,
        };
        match accepted {
            Ok((stream, peer)) => server.open(stream, peer),
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
    for (stream, peer) in waiting(listener) {
        server.open(stream, peer);
    }
    server.drain(gone, options.drain_timeout).await
}

fn warn_if_exposed(address: SocketAddr, asks_for_keys: bool, options: &ProcessOptions) {
    let tls = &options.tls;
    let text = match (asks_for_keys || tls.knows_clients(), tls.scheme()) {
        _ if address.ip().to_canonical().is_loopback() => return,
        (false, _) => "anybody who reaches this address can use it: there is no authentication",
        (true, "http") => "without --tls-cert, whoever is on the way can read the keys of clients",
        (true, _) => return,
    };
    tracing::warn!(name: "server.exposed", %address, "{address} is beyond loopback; {text}");
}

/// The connections that already wait in the kernel's queue. The listener is closed. It is asked
/// without tokio, which only knows of connections that its driver has seen.
fn waiting(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    let accepted = std::iter::from_fn(|| listener.accept().ok());
    let adopt = |(stream, peer): (std::net::TcpStream, _)| {
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    };
    accepted.take(LAST_CONNECTIONS).filter_map(adopt).collect()
}

/// What the connections of a listener share.
struct Server {
    site: Arc<Site>,
    connections: Arc<Connections>,
    header_timeout: Duration,
    write_timeout: Duration,
    certificates: Option<Current>,
    shutdown: Shutdown,
    cut: Trigger,
    /// Each connection holds a clone; the receiver ends when the last one is dropped.
    alive: mpsc::Sender<Infallible>,
}

/// What answers a request.
struct Site {
    app: App,
    guard: Guard,
    scheme: Scheme,
    shutdown: Shutdown,
    cut: Shutdown,
}

impl Server {
    fn new(
        app: App,
        address: SocketAddr,
        options: &ProcessOptions,
        certificates: Option<Current>,
        shutdown: &Shutdown,
    ) -> (Self, mpsc::Receiver<Infallible>) {
        let (alive, gone) = mpsc::channel(1);
        let (trigger, cut) = Shutdown::pair();
        let guard = Guard::new(address, &options.allowed_hosts);
        let most = crate::files::connections(options.max_connections);
        let server = Self {
            site: Arc::new(Site {
                app,
                guard,
                scheme: Scheme(options.tls.scheme()),
                shutdown: shutdown.clone(),
                cut,
            }),
            connections: Connections::new(most),
            header_timeout: options.header_timeout,
            write_timeout: options.write_timeout,
            certificates,
            shutdown: shutdown.clone(),
            cut: trigger,
            alive,
        };
        (server, gone)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a connection has no trace context; each of its requests gets its own"
    )]
    fn open(&self, stream: TcpStream, peer: SocketAddr) {
        // Small answers must not wait for the acknowledgement of earlier ones. A failure costs only
        // time.
        let _ = stream.set_nodelay(true);
        let Some(connection) = self.connections.open() else {
            // Before a handshake nobody could read the answer.
            if self.certificates.is_none() {
                refuse_at_once(stream);
            }
            return;
        };
        let connection = Arc::new(connection);
        let client = ClientAddress::from(peer.ip());
        let service = {
            let (site, connection) = (Arc::clone(&self.site), Arc::clone(&connection));
            service_fn(move |request| {
                answer(
                    Arc::clone(&site),
                    request,
                    client.clone(),
                    connection.request(),
                )
            })
        };
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(MAX_BUFFER)
            .max_header_size(MAX_BUFFER);
        let (shutdown, alive) = (self.shutdown.clone(), self.alive.clone());
        let (certificates, limit) = (self.certificates.clone(), self.header_timeout);
        let write_timeout = self.write_timeout;
        tokio::spawn(async move {
            let _alive = alive;
            let stream = establish(stream, certificates, limit, &connection, &shutdown);
            let Some(stream) = stream.await else { return };
            let stream = TokioIo::new(WriteTimeout::new(stream, write_timeout));
            let http = http.serve_connection(stream, service);
            converse(http, &connection, &shutdown).await;
        });
    }

    async fn drain(
        self,
        mut gone: mpsc::Receiver<Infallible>,
        deadline: Duration,
    ) -> Result<(), ServeError> {
        let Self {
            alive,
            connections,
            cut,
            ..
        } = self;
        drop(alive);
        if tokio::time::timeout(deadline, gone.recv()).await.is_ok() {
            return Ok(());
        }
        // A connection that waits for no answer, for example after half a request head, is cut off
        // without an error.
        if connections.in_flight() == 0 {
            return Ok(());
        }
        cut.stop();
        let _ = tokio::time::timeout(LAST_ANSWERS, gone.recv()).await;
        Err(ServeError::DrainTimedOut { deadline })
    }
}

/// Answers that there is no room. A new socket has space for these bytes, but tokio's own
/// `try_write` refuses until its driver has seen the socket: hence the write of the standard library.
fn refuse_at_once(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(NO_ROOM);
    }
}

/// The connection, once a handshake has made it usable. That waits as the first request of a
/// connection does: not when the place is needed, and not for long when the process stops.
async fn establish(
    stream: TcpStream,
    certificates: Option<Current>,
    limit: Duration,
    connection: &Connection,
    shutdown: &Shutdown,
) -> Option<Stream> {
    let Some(certificates) = certificates else {
        return Some(Stream::Plain(stream));
    };
    let mut handshake = Box::pin(certificates.handshake(stream, limit));
    tokio::select! {
        stream = &mut handshake => stream,
        () = connection.closed() => None,
        () = shutdown.wait() => tokio::time::timeout(NEXT_REQUEST, handshake).await.ok()?,
    }
}

/// Serves a connection to its end, which comes early when the process stops or another connection
/// needs the place.
async fn converse<S>(
    http: http1::Connection<TokioIo<WriteTimeout>, S>,
    connection: &Connection,
    shutdown: &Shutdown,
) where
    S: hyper::service::HttpService<Incoming, ResBody = Body, Error = Infallible>,
{
    let mut http = pin!(http);
    // A broken connection is not logged: the span of its request has the outcome.
    let stops = tokio::select! {
        _ = http.as_mut() => return,
        () = shutdown.wait() => true,
        () = connection.closed() => false,
    };
    // hyper would wait for the rest of a head, and the connection would hold its file meanwhile.
    if !stops && connection.is_idle() {
        return;
    }
    // hyper closes an idle connection at once (https://github.com/hyperium/hyper/issues/3792). The
    // answer to a request that still comes closes it: see `answer`.
    if stops
        && tokio::time::timeout(NEXT_REQUEST, http.as_mut())
            .await
            .is_ok()
    {
        return;
    }
    http.as_mut().graceful_shutdown();
    let _ = http.await;
}

async fn answer(
    site: Arc<Site>,
    request: hyper::Request<Incoming>,
    client: ClientAddress,
    _entered: InFlight,
) -> Result<Response, Infallible> {
    let verdict = site.guard.check(&request);
    let mut request = request.map(Body::new);
    let extensions = request.extensions_mut();
    extensions.insert(client);
    extensions.insert(site.scheme);
    let mut response = match verdict {
        Ok(()) => {
            extensions.insert(Cut(site.cut.clone()));
            site.app.router.clone().oneshot(request).await?
        }
        Err(refusal) => {
            extensions.insert(refusal);
            site.app.refused.clone().oneshot(request).await?
        }
    };
    if site.shutdown.is_stopping() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}
