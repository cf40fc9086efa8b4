//! A client of the explorer's read API.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use explorer::{MetricSeries, Trace, TraceSummary};
use http::{Request, StatusCode};
use serde_json::Value;
use telemetry::client::HttpClient;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one explorer.
pub(crate) struct ExplorerClient {
    http: HttpClient,
    url: String,
}

impl ExplorerClient {
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        Ok(Self {
            http: HttpClient::new()?,
            url: url.trim_end_matches('/').to_owned(),
        })
    }

    /// The trace, or `None` as long as none of it has arrived.
    pub(crate) async fn trace(&self, trace_id: &str) -> anyhow::Result<Option<Trace>> {
        match self.get(&format!("/api/traces/{trace_id}")).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (StatusCode::OK, body) => Ok(Some(
                Trace::from_otlp(&body).context("the explorer's answer is not a trace")?,
            )),
            (status, body) => bail!(
                "the explorer answers {status}: {}",
                String::from_utf8_lossy(&body)
            ),
        }
    }

    /// The newest traces that match `query`, such as `limit=20&service=gateway`.
    pub(crate) async fn traces(&self, query: &str) -> anyhow::Result<Vec<TraceSummary>> {
        let mut answer = self.read(&format!("/api/traces?{query}")).await?;
        serde_json::from_value(answer["traces"].take())
            .context("the explorer's answer is not a list of traces")
    }

    /// The series of one metric.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<Vec<MetricSeries>> {
        let mut answer = self.read(&format!("/api/metrics?name={name}")).await?;
        serde_json::from_value(answer["series"].take())
            .context("the explorer's answer is not a list of series")
    }

    async fn read(&self, path: &str) -> anyhow::Result<Value> {
        match self.get(path).await? {
            (StatusCode::OK, body) => {
                serde_json::from_slice(&body).context("the explorer's answer is not JSON")
            }
            (status, body) => bail!(
                "the explorer answers {status} to {path}: {}",
                String::from_utf8_lossy(&body)
            ),
        }
    }

    async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = Request::get(format!("{}{path}", self.url)).body(Bytes::new())?;
        let answer = self.http.send(request, TIMEOUT).await.with_context(|| {
            format!(
                "the explorer does not answer at {}; start it with `throughline up`, or name another with --explorer",
                self.url
            )
        })?;
        Ok((answer.status(), answer.into_body()))
    }
}
