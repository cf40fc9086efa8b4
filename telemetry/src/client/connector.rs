//! How connections are opened: TCP and TLS, within one limit of time.

use std::error::Error;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower::Service;

/// For everything: the name, TCP and the handshake of TLS. Inside the system it takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that waits for its answer this long is probed, and after as long again without a
/// reply once more.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// So many probes without a reply, and the connection is broken.
const KEEPALIVE_PROBES: u32 = 3;

/// Opens the connections of a client: plain ones for `http`, encrypted ones for `https`.
#[derive(Clone)]
pub(super) struct Connector(HttpsConnector<HttpConnector>);

impl Connector {
    pub(super) fn new(tls: ClientConfig) -> Self {
        let mut http = HttpConnector::new();
        // It would refuse `https`, below which it opens the TCP connection.
        http.enforce_http(false);
        http.set_nodelay(true);
        // Shared among the addresses of a name, so that a dead one leaves time for the next.
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        http.set_keepalive(Some(KEEPALIVE));
        http.set_keepalive_interval(Some(KEEPALIVE));
        http.set_keepalive_retries(Some(KEEPALIVE_PROBES));
        // What is sent and not acknowledged breaks the connection; other systems have no such limit.
        #[cfg(target_os = "linux")]
        http.set_tcp_user_timeout(Some(Duration::from_secs(30)));
        Self(HttpsConnector::from((http, tls)))
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = self.0.call(uri);
        Box::pin(async move {
            match tokio::time::timeout(CONNECT_TIMEOUT, connected).await {
                Ok(result) => result,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        })
    }
}
