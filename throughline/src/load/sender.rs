//! Sends requests, all through one pool of connections.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use telemetry::client::HttpClient;

use super::outcome::Answer;

/// A client with the time limit of the load. Cloning shares the pool.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    http: HttpClient,
    timeout: Duration,
}

impl Sender {
    pub(super) fn new(timeout: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            http: crate::client::gateway()?,
            timeout,
        })
    }

    pub(super) async fn send(&self, request: Request<Bytes>) -> Answer {
        self.http.send(request, self.timeout).await.into()
    }
}
