//! The checklist's requests to the gateway. All are marked as synthetic.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use telemetry::SpanRef;
use telemetry::client::HttpClient;

use crate::synthetic;

const TIMEOUT: Duration = Duration::from_secs(15);
/// The model that the built-in data set belongs to.
pub(crate) const MODEL: &str = "wine_quality";

/// A client of the gateway's API.
pub(crate) struct Gateway {
    http: HttpClient,
    url: String,
}

/// What a request asks for beside its ids.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) variant: Option<&'a str>,
    /// As in the baggage: `<service>:<kind>[:<argument>]`.
    pub(crate) fault: Option<&'a str>,
    /// Compute the prediction again, even if it is stored.
    pub(crate) compute: bool,
}

/// An answer of the gateway.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    pub(crate) trace_id: Option<String>,
    pub(crate) took: Duration,
}

impl Gateway {
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        Ok(Self {
            http: crate::client::gateway()?,
            url: url.trim_end_matches('/').to_owned(),
        })
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let request = Request::get(format!("{}{path}", self.url)).body(Bytes::new())?;
        self.send(request).await
    }

    /// Asks for one wine's prediction.
    pub(crate) async fn predict(&self, data_id: &str, ask: Ask<'_>) -> anyhow::Result<Answer> {
        let body = json!({"model": MODEL, "data_ids": [data_id]});
        let mut request = self.post("/v1/predictions", ask);
        if ask.compute {
            request = request.header("cache-control", "no-cache");
        }
        self.send(request.body(Bytes::from(body.to_string()))?)
            .await
    }

    /// An inference call with a limit that no model can keep.
    pub(crate) async fn infer_in_no_time(&self, data_id: &str) -> anyhow::Result<Answer> {
        let body = json!({
            "inputs": [{"name": "data_id", "datatype": "BYTES", "shape": [1], "data": [data_id]}],
            // Microseconds.
            "parameters": {"timeout": 1},
        });
        let request = self.post(&format!("/v2/models/{MODEL}/infer"), Ask::default());
        self.send(request.body(Bytes::from(body.to_string()))?)
            .await
    }

    fn post(&self, path: &str, ask: Ask<'_>) -> http::request::Builder {
        let mut baggage = synthetic::BAGGAGE.to_owned();
        for (name, value) in [("ml.variant", ask.variant), ("fault", ask.fault)] {
            if let Some(value) = value {
                baggage = format!("{baggage},{name}={value}");
            }
        }
        Request::post(format!("{}{path}", self.url))
            .header("content-type", "application/json")
            .header("user-agent", synthetic::user_agent("check"))
            .header("baggage", baggage)
    }

    async fn send(&self, request: Request<Bytes>) -> anyhow::Result<Answer> {
        let start = Instant::now();
        let answer = self
            .http
            .send(request, TIMEOUT)
            .await
            .context("the gateway does not answer")?;
        Ok(Answer {
            status: answer.status(),
            trace_id: trace_id(answer.headers()),
            took: start.elapsed(),
            body: serde_json::from_slice(answer.body()).unwrap_or_default(),
        })
    }
}

impl Answer {
    pub(crate) fn prediction(&self) -> &Value {
        &self.body["predictions"][0]
    }
}

/// The trace that `traceresponse` names.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceresponse")?.to_str().ok()?;
    Some(SpanRef::from_traceparent(value)?.trace_id.to_string())
}
