//! What the gateway answered, in words.

use std::time::Duration;

use axum::http::{HeaderMap, Response};
use bytes::Bytes;
use serde_json::Value;
use telemetry::client::ClientError;

/// Characters of an error's words that are shown.
const MAX_WORDS: usize = 500;

/// How a request ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Predicted(Box<Predicted>),
    /// An answer with an error.
    Refused(Refused),
    /// No answer; the words say why.
    NoAnswer(String),
}

/// A prediction with the headers that explain it.
#[derive(Clone, Debug)]
pub(crate) struct Predicted {
    pub(crate) label: String,
    pub(crate) confidence: Option<f64>,
    pub(crate) variant: String,
    pub(crate) version: String,
    pub(crate) cached: bool,
    /// The span that computed it, if that was in this request.
    pub(crate) computed_by: Option<(String, String)>,
    pub(crate) cache_status: String,
    pub(crate) server_timing: String,
    pub(crate) took: Duration,
    /// Whether the answer names a trace.
    pub(crate) traced: bool,
}

/// An error of the gateway (RFC 9457).
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) words: String,
    pub(crate) took: Duration,
    pub(crate) traced: bool,
}

impl Outcome {
    pub(super) fn of(
        result: Result<Response<Bytes>, ClientError>,
        took: Duration,
        gateway: &str,
    ) -> Outcome {
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                return Outcome::NoAnswer(format!(
                    "The gateway at {gateway} does not answer: {}",
                    runtime::chain(&error)
                ));
            }
        };
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let prediction = &body["predictions"][0];
        let traced = answer.headers().contains_key("traceresponse");
        if answer.status().is_success() && prediction["label"].is_string() {
            let predicted = predicted(prediction, answer.headers(), took, traced);
            return Outcome::Predicted(Box::new(predicted));
        }
        Outcome::Refused(Refused {
            status: answer.status().as_u16(),
            words: words(&body),
            took,
            traced,
        })
    }

    /// Whether the gateway's span can be expected.
    pub(crate) fn is_traced(&self) -> bool {
        match self {
            Outcome::Predicted(predicted) => predicted.traced,
            Outcome::Refused(refused) => refused.traced,
            Outcome::NoAnswer(_) => false,
        }
    }
}

fn predicted(prediction: &Value, headers: &HeaderMap, took: Duration, traced: bool) -> Predicted {
    let field = |name: &str| prediction[name].as_str().unwrap_or("?").to_owned();
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let ids = &prediction["computed_by"];
    let computed_by = ids["trace_id"].as_str().zip(ids["span_id"].as_str());
    Predicted {
        label: field("label"),
        confidence: prediction["confidence"].as_f64(),
        variant: field("variant"),
        version: field("model_version"),
        cached: prediction["cached"] == true,
        computed_by: computed_by.map(|(trace, span)| (trace.to_owned(), span.to_owned())),
        cache_status: header("cache-status"),
        server_timing: header("server-timing"),
        took,
        traced,
    }
}

/// The title and the detail of a problem, with the reason of the one entry that was asked for.
fn words(body: &Value) -> String {
    let entry = [
        &body["errors"][0]["error"],
        &body["predictions"][0]["error"],
    ];
    let reasons = [
        &body["title"],
        &body["detail"],
        &entry[0]["detail"],
        &entry[1]["title"],
        &entry[1]["detail"],
        &body["error"],
    ];
    let mut said: Vec<&str> = Vec::new();
    for reason in reasons.into_iter().filter_map(Value::as_str) {
        if !said.contains(&reason) {
            said.push(reason);
        }
    }
    if said.is_empty() {
        said.push("the answer does not say why");
    }
    said.join(": ").chars().take(MAX_WORDS).collect()
}
