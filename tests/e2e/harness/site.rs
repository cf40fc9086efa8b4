//! Requests to a running system, and what it tells of them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use explorer::Trace;
use explorer::tree;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use telemetry::SpanRef;
use telemetry::client::HttpClient;

use super::{DEADLINE, eventually};

/// A running system as a client meets it: addresses, requests and their traces.
pub(crate) struct Site {
    pub(crate) urls: Urls,
    client: HttpClient,
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

/// An answer with what tests look at.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The trace that the answer names.
    pub(crate) fn span(&self) -> SpanRef {
        let value = self.headers["traceresponse"]
            .to_str()
            .expect("traceresponse is ASCII");
        SpanRef::from_traceparent(value).expect("traceresponse is well formed")
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
    pub(crate) fn new(urls: Urls) -> Result<Self> {
        Ok(Self {
            urls,
            client: HttpClient::new()?,
        })
    }

    /// `POST /v1/predictions` for wines.
    pub(crate) fn predict(&self, data_ids: &[&str]) -> Result<Answer> {
        self.predict_with(data_ids, &[])
    }

    /// The same with request headers.
    pub(crate) fn predict_with(
        &self,
        data_ids: &[&str],
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let body = json!({"model": "wine_quality", "data_ids": data_ids}).to_string();
        self.post(
            &format!("{}/v1/predictions", self.urls.gateway),
            body,
            headers,
        )
    }

    pub(crate) fn get(&self, url: &str) -> Result<Answer> {
        self.send(Request::get(url).body(Bytes::new())?)
    }

    /// The body of a GET as text.
    pub(crate) fn text(&self, url: &str) -> Result<String> {
        let answer = self.exchange(Request::get(url).body(Bytes::new())?)?;
        Ok(String::from_utf8(answer.body().to_vec())?)
    }

    /// A request without a body.
    pub(crate) fn request(&self, method: Method, url: &str) -> Result<Answer> {
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
    ) -> Result<Answer> {
        let mut request = Request::post(url).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into())?)
    }

    /// One request as it is, and the answer as it comes.
    pub(crate) fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        Ok(runtime().block_on(self.client.send(request, DEADLINE))?)
    }

    fn send(&self, request: Request<Bytes>) -> Result<Answer> {
        let answer = self.exchange(request)?;
        let body = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        Ok(Answer {
            status: answer.status(),
            headers: answer.headers().clone(),
            body,
        })
    }

    /// The trace as soon as its outline is `expected`; what came instead fails the test.
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

    /// What the explorer holds of a trace now.
    pub(crate) fn trace(&self, trace_id: &str) -> Result<Option<Trace>> {
        let request = Request::get(format!("{}/api/traces/{trace_id}", self.urls.explorer))
            .body(Bytes::new())?;
        let answer = self.exchange(request)?;
        match answer.status() {
            StatusCode::OK => Ok(Some(Trace::from_otlp(answer.body())?)),
            StatusCode::NOT_FOUND => Ok(None),
            status => bail!("the explorer answers {status}"),
        }
    }

    /// Log records of a trace, once there are at least `count`.
    pub(crate) fn logs(&self, trace_id: &str, count: usize) -> Result<Vec<Value>> {
        let url = format!("{}/api/logs?trace_id={trace_id}", self.urls.explorer);
        eventually("the log records arrive", || {
            let logs = self.get(&url)?.body["logs"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            Ok((logs.len() >= count).then_some(logs))
        })
    }

    /// Names of all metrics, and with each the keys of its points' attributes.
    pub(crate) fn metrics(&self) -> Result<BTreeMap<String, Vec<Value>>> {
        let names = self
            .get(&format!("{}/api/metrics", self.urls.explorer))?
            .body;
        let names = names["metrics"].as_array().cloned().unwrap_or_default();
        let mut found = BTreeMap::new();
        for name in names.iter().filter_map(|metric| metric["name"].as_str()) {
            let series = self
                .get(&format!("{}/api/metrics?name={name}", self.urls.explorer))?
                .body;
            found.insert(
                name.to_owned(),
                series["series"].as_array().cloned().unwrap_or_default(),
            );
        }
        Ok(found)
    }
}

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().expect("a runtime"))
}
