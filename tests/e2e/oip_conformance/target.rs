//! The server that a case runs against, its particular behaviour, and its answers.

use std::fmt::Debug;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::system::exchange;

/// Intended differences between the servers. Each field is a line of docs/model-services.md.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expectations {
    /// `name` of the server metadata, the service name of the telemetry, and the name that faults
    /// are addressed to.
    pub(super) service: &'static str,
    pub(super) platform: &'static str,
    pub(super) backend: &'static str,
    /// The versions in the shared repository that are this service's.
    pub(super) versions: &'static [&'static str],
    /// Its models. Only some have one for texts.
    pub(super) models: &'static [&'static str],
    /// Status and `code` for a method that HTTP does not know.
    pub(super) strange_method: (u16, &'static str),
}

impl Expectations {
    pub(super) const RUST: Self = Self {
        service: "model-service",
        platform: "candle_safetensors",
        backend: "candle",
        versions: &["1"],
        models: &["text_sentiment", "wine_quality"],
        strange_method: (405, "method_not_allowed"),
    };
    pub(super) const PYTHON: Self = Self {
        service: "model-service-python",
        platform: "sklearn_skops",
        backend: "sklearn",
        versions: &["2"],
        models: &["wine_quality"],
        // uvicorn's parser refuses it: it is not HTTP.
        strange_method: (400, "bad_request"),
    };

    /// Some requests are answered by the gateway itself.
    pub(super) const fn behind_the_gateway(self) -> Self {
        Self {
            strange_method: (405, "method_not_allowed"),
            ..self
        }
    }
}

/// One server of the protocol.
pub(super) struct Target<'a> {
    url: &'a str,
    pub(super) expected: Expectations,
    /// For the gateway: the variant that the request forces.
    variant: Option<&'static str>,
}

/// An answer, its body as it came.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The trace that the request was sent in.
    pub(super) trace_id: String,
}

/// A request on its way to a target.
pub(super) struct Call<'a> {
    target: &'a Target<'a>,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    baggage: Vec<String>,
    body: Bytes,
}

impl<'a> Target<'a> {
    pub(super) fn new(url: &'a str, expected: Expectations, variant: Option<&'static str>) -> Self {
        Self {
            url,
            expected,
            variant,
        }
    }

    pub(super) fn call(&self, method: Method, path: impl Into<String>) -> Call<'_> {
        let baggage = self
            .variant
            .map(|name| format!("ml.variant={name}"))
            .into_iter()
            .collect();
        Call {
            target: self,
            method,
            path: path.into(),
            headers: Vec::new(),
            baggage,
            body: Bytes::new(),
        }
    }

    pub(super) fn is_gateway(&self) -> bool {
        self.variant.is_some()
    }

    /// A connection of its own, for what no client would send.
    pub(super) fn connect(&self) -> Result<TcpStream> {
        harness::connect(self.url)
    }

    pub(super) fn get(&self, path: &str) -> Result<Reply> {
        self.call(Method::GET, path).send()
    }

    /// An inference call of `wine_quality`, not yet sent.
    pub(super) fn infer(&self, body: impl Into<Bytes>) -> Call<'_> {
        self.call(Method::POST, "/v2/models/wine_quality/infer")
            .body(body)
    }

    /// The answer to an inference that must succeed, as JSON.
    pub(super) fn infer_json(&self, body: &Value) -> Result<Value> {
        self.infer(body.to_string()).send()?.json_ok()
    }
}

impl Call<'_> {
    pub(super) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Declares the first `length` bytes of the body as JSON and the rest as raw.
    pub(super) fn json_length(self, length: usize) -> Self {
        self.header("Inference-Header-Content-Length", &length.to_string())
    }

    pub(super) fn baggage(mut self, entry: impl Into<String>) -> Self {
        self.baggage.push(entry.into());
        self
    }

    /// Sends it in a trace of its own, without a content type if none was given, as tritonclient
    /// does.
    pub(super) fn send(self) -> Result<Reply> {
        static TRACES: AtomicU64 = AtomicU64::new(1);
        let trace_id = format!(
            "0af7651916cd43dd{:016x}",
            TRACES.fetch_add(1, Ordering::Relaxed)
        );
        let url = format!("{}{}", self.target.url, self.path);
        let mut request = Request::builder().method(self.method).uri(&url);
        request = request.header("traceparent", format!("00-{trace_id}-b7ad6b7169203331-01"));
        if !self.baggage.is_empty() {
            request = request.header("baggage", self.baggage.join(","));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answer = exchange(request.body(self.body)?).with_context(|| url)?;
        Ok(Reply {
            status: StatusCode::from_u16(answer.status)?,
            headers: answer.headers,
            body: answer.body,
            trace_id,
        })
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The JSON of an answer that must be 200.
    pub(super) fn json_ok(&self) -> Result<Value> {
        ensure!(
            self.status == StatusCode::OK,
            "{}: {}",
            self.status,
            self.text()
        );
        same(
            "content-type",
            &self.header("content-type"),
            &"application/json",
        )?;
        ensure!(
            !self.headers.contains_key("inference-header-content-length"),
            "JSON alone needs no header length"
        );
        serde_json::from_slice(&self.body).with_context(|| self.text())
    }

    /// Whether this is a well-formed refusal with exactly this status and code.
    pub(super) fn refused(&self, status: u16, code: &str) -> Result<()> {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        same(
            "status and code",
            &json!([self.status.as_u16(), body["code"]]),
            &json!([status, code]),
        )
        .with_context(|| self.text())?;
        // The kserve client reads the error only below exactly this type.
        same(
            "content-type",
            &self.header("content-type"),
            &"application/json",
        )?;
        same(
            "trace_id of the error",
            &body["trace_id"],
            &json!(self.trace_id),
        )?;
        let error = body["error"].as_str().unwrap_or_default();
        ensure!(
            !error.is_empty() && error.len() < 300,
            "the error is no sentence: {error:?}"
        );
        let busy = matches!(status, 429 | 503);
        same(
            "whether there is Retry-After",
            &self.headers.contains_key("retry-after"),
            &busy,
        )
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.chars().take(500).collect()
    }
}

/// An error that shows both sides, unless they are equal.
pub(super) fn same<T: PartialEq + Debug + ?Sized>(
    what: &str,
    found: &T,
    expected: &T,
) -> Result<()> {
    ensure!(
        found == expected,
        "{what} is {found:?} instead of {expected:?}"
    );
    Ok(())
}

/// The output of this name.
pub(super) fn output<'a>(answer: &'a Value, name: &str) -> Result<&'a Value> {
    let mut outputs = answer["outputs"].as_array().into_iter().flatten();
    outputs
        .find(|output| output["name"] == name)
        .with_context(|| format!("no output {name} in {answer}"))
}

/// The names of all outputs in their order.
pub(super) fn output_names(answer: &Value) -> Vec<&str> {
    answer["outputs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|output| output["name"].as_str())
        .collect()
}
