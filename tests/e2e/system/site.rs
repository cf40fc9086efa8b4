//! Requests to a running system, and the telemetry that they leave.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bytes::Bytes;
use explorer::tree;
use harness::{ExplorerApi, SpanData, Trace, eventually, send};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use telemetry::SpanRef;

/// A running system as a client meets it: addresses, requests and their traces.
pub(crate) struct Site {
    pub(crate) urls: Urls,
    explorer: ExplorerApi,
}

/// Where the parts listen; empty for a part that is not there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Urls {
    pub(crate) explorer: String,
    pub(crate) otlp: String,
    pub(crate) feature_store: String,
    pub(crate) model_service: String,
    pub(crate) worker: String,
    pub(crate) gateway: String,
}

/// An answer with a JSON body.
#[derive(Debug)]
pub(crate) struct JsonAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl JsonAnswer {
    /// The span that the answer names in `traceresponse`.
    pub(crate) fn span(&self) -> SpanRef {
        let value = self.headers["traceresponse"]
            .to_str()
            .expect("traceresponse is ASCII");
        SpanRef::from_traceparent(value).expect("traceresponse is well formed")
    }

    /// The id of its trace.
    pub(crate) fn trace_id(&self) -> String {
        self.span().trace_id.to_string()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("ASCII"))
    }

    pub(crate) fn prediction(&self, index: usize) -> &Value {
        &self.body["predictions"][index]
    }
}

impl Site {
    pub(crate) fn new(urls: Urls) -> Self {
        Self {
            explorer: ExplorerApi::new(urls.explorer.clone()),
            urls,
        }
    }

    /// `POST /v1/predictions` for wines.
    pub(crate) fn predict(&self, data_ids: &[&str]) -> Result<JsonAnswer> {
        self.predict_with(data_ids, &[])
    }

    /// The same with request headers.
    pub(crate) fn predict_with(
        &self,
        data_ids: &[&str],
        headers: &[(&str, &str)],
    ) -> Result<JsonAnswer> {
        let body = json!({"model": "wine_quality", "data_ids": data_ids}).to_string();
        self.post(
            &format!("{}/v1/predictions", self.urls.gateway),
            body,
            headers,
        )
    }

    pub(crate) fn get(&self, url: &str) -> Result<JsonAnswer> {
        self.send(Request::get(url).body(Bytes::new())?)
    }

    /// A request without a body.
    pub(crate) fn request(&self, method: Method, url: &str) -> Result<JsonAnswer> {
        self.send(
            Request::builder()
                .method(method)
                .uri(url)
                .body(Bytes::new())?,
        )
    }

    pub(crate) fn post(
        &self,
        url: &str,
        body: impl Into<Bytes>,
        headers: &[(&str, &str)],
    ) -> Result<JsonAnswer> {
        let mut request = Request::post(url).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into())?)
    }

    #[expect(clippy::unused_self, reason = "a test sends requests to its system")]
    fn send(&self, request: Request<Bytes>) -> Result<JsonAnswer> {
        let answer = exchange(request)?;
        Ok(JsonAnswer {
            status: StatusCode::from_u16(answer.status)?,
            body: answer.json(),
            headers: answer.headers,
        })
    }

    /// Waits for the trace with the outline `expected`; the error shows what came instead.
    pub(crate) fn trace_with_outline(&self, trace_id: &str, expected: &str) -> Result<Trace> {
        let mut last = String::from("nothing");
        let found = eventually("the trace has its outline", || {
            let Some(trace) = self.trace(trace_id)? else {
                return Ok(None);
            };
            last = tree::outline(&trace);
            Ok((last.trim_end() == expected.trim_end()).then_some(trace))
        });
        let trace = found.with_context(|| format!("expected:\n{expected}\ncame:\n{last}"))?;
        assert_eq!(tree::problems(&trace), Vec::<String>::new(), "{last}");
        Ok(trace)
    }

    /// The trace as far as it has arrived.
    pub(crate) fn trace(&self, trace_id: &str) -> Result<Option<Trace>> {
        self.explorer.trace(trace_id)
    }

    /// Log records of a trace, once there are at least `count`.
    pub(crate) fn logs(&self, trace_id: &str, count: usize) -> Result<Vec<Value>> {
        eventually("the log records arrive", || {
            let logs = self.explorer.logs(&format!("trace_id={trace_id}"))?;
            Ok((logs.len() >= count).then_some(logs))
        })
    }

    /// The series of every metric, by its name.
    pub(crate) fn metrics(&self) -> Result<BTreeMap<String, Vec<Value>>> {
        self.explorer.metrics()
    }
}

/// A model in the gateway's `GET /v1/models`; null without it.
pub(crate) fn model<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let mut models = answer["models"].as_array().into_iter().flatten();
    let model = models.find(|model| model["name"] == name);
    model.unwrap_or(&Value::Null)
}

/// Sends a request as it is.
pub(crate) fn exchange(request: Request<Bytes>) -> Result<harness::Answer> {
    let (head, body) = request.into_parts();
    let mut headers = Vec::new();
    for (name, value) in &head.headers {
        headers.push((name.as_str(), value.to_str()?));
    }
    send(head.method.as_str(), &head.uri.to_string(), &headers, &body)
}

/// Whether the gateway's root has arrived and nothing is missing below it. Without that root, the
/// parent of the next service counts as remote, and nothing seems to be missing.
pub(crate) fn is_whole(trace: &Trace) -> bool {
    let root = |span: &SpanData| span.service == "gateway" && span.parent.is_none();
    trace.spans.iter().any(root) && tree::problems(trace).is_empty()
}
