//! A client of the gateway's API, for commands that read its answers as they are.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use runtime::without_secrets;
use serde_json::Value;
use telemetry::client::HttpClient;

/// A client of one gateway, whose refusals are errors.
pub(crate) struct GatewayClient {
    http: HttpClient,
    url: String,
    timeout: Duration,
}

impl GatewayClient {
    /// `timeout` is for each request.
    pub(crate) fn new(url: &str, timeout: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            http: crate::client::gateway()?,
            url: url.to_owned(),
            timeout,
        })
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.exchange(Method::GET, path, Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.exchange(Method::POST, path, body.to_string().into())
            .await
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url);
        let request = Request::builder().method(method).uri(&url).body(body)?;
        let answer = self.http.send(request, self.timeout).await.with_context(|| {
            format!(
                "the gateway does not answer at {}; start it with `throughline up`, or name another with --gateway",
                without_secrets(&self.url)
            )
        })?;
        if answer.status() != StatusCode::OK {
            bail!(
                "the gateway answers {} to {}: {}",
                answer.status(),
                without_secrets(&url),
                String::from_utf8_lossy(answer.body())
            );
        }
        serde_json::from_slice(answer.body()).context("the gateway's answer is not JSON")
    }
}
