//! What the command line asks of the explorer's read API.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use explorer::Trace;
use http::{Request, StatusCode};
use serde_json::Value;
use telemetry::client::HttpClient;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one explorer.
pub(crate) struct Explorer {
    client: HttpClient,
    url: String,
}

impl Explorer {
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        Ok(Self {
            client: HttpClient::new()?,
            url: url.trim_end_matches('/').to_owned(),
        })
    }

    /// The trace, or `None` as long as the explorer has nothing of it.
    pub(crate) async fn trace(&self, trace_id: &str) -> anyhow::Result<Option<Trace>> {
        match self.get(&format!("/api/traces/{trace_id}")).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (StatusCode::OK, body) => Ok(Some(
                Trace::from_otlp(&body).context("the explorer's answer is no trace")?,
            )),
            (status, body) => bail!(
                "the explorer answers {status}: {}",
                String::from_utf8_lossy(&body)
            ),
        }
    }

    /// Any read of the explorer that must succeed.
    pub(crate) async fn read(&self, path: &str) -> anyhow::Result<Value> {
        match self.get(path).await? {
            (StatusCode::OK, body) => {
                serde_json::from_slice(&body).context("the explorer's answer is no JSON")
            }
            (status, body) => bail!(
                "the explorer answers {status} to {path}: {}",
                String::from_utf8_lossy(&body)
            ),
        }
    }

    async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = Request::get(format!("{}{path}", self.url)).body(Bytes::new())?;
        let answer = self.client.send(request, TIMEOUT).await.with_context(|| {
            format!(
                "the explorer does not answer at {}; start it with `throughline up`, or name another with --explorer",
                self.url
            )
        })?;
        Ok((answer.status(), answer.into_body()))
    }
}
