//! The sample: one prediction asked for twice, and both traces shown.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use explorer::Trace;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use telemetry::SpanRef;
use telemetry::client::HttpClient;

use super::System;
use crate::explorer_api::Explorer;
use crate::screen;

/// How long a trace may take to arrive whole: every process exports on its own schedule.
const TRACE_TIMEOUT: Duration = Duration::from_secs(8);
const TRIES: u32 = 40;

/// One answered prediction and where its trace is.
struct Answer {
    data_id: String,
    prediction: Value,
    trace_id: Option<String>,
    took: Duration,
}

/// Asks for a prediction that is not stored yet, then for the same again; with a Python worker also for the same prediction
/// by it. With an explorer all traces must arrive whole.
pub(crate) async fn run(system: &System) -> anyhow::Result<()> {
    let (gateway, explorer) = (system.gateway()?, system.explorer());
    let (read, write) = system.store_spans();
    let client = Client {
        http: HttpClient::new()?,
        gateway,
    };
    // With one variant there is nothing to choose, and the plainest request is the best sample.
    let primary = system.worker().map(|_| "primary");
    let miss = client.first_miss(1, primary).await?;
    let hit = client.ask(&miss.data_id, primary).await?;
    if hit.prediction["cached"] != Value::Bool(true) {
        bail!(
            "the second request for {} was not answered from the prediction store: {}",
            hit.data_id,
            hit.prediction
        );
    }
    let computed = ["predict wine_quality", system.feature_span(), write];
    let stored = [read];
    let mut samples = vec![
        ("A miss: computed by the model", miss, computed.as_slice()),
        ("A hit: from the prediction store", hit, stored.as_slice()),
    ];
    if system.worker().is_some() {
        // Another wine: the feature store remembers the features of this one, and a miss should show where they come from.
        let canary = client
            .first_miss(row(&samples[0].1.data_id) % 1599 + 1, Some("canary"))
            .await?;
        samples.push((
            "A miss of the canary: computed in Python",
            canary,
            computed.as_slice(),
        ));
    }
    for (title, answer, spans) in samples {
        heading(title, &answer);
        match (explorer, &answer.trace_id) {
            (Some(explorer), Some(trace_id)) => {
                show(&Explorer::new(explorer)?, trace_id, spans).await?
            }
            (None, Some(trace_id)) => {
                screen::say(format!(
                    "  its trace {trace_id} went to the OTLP endpoint; whether it is whole there was not checked"
                ));
            }
            (Some(_), None) => bail!("the answer names no trace (is OTEL_SDK_DISABLED set?)"),
            (None, None) => screen::say("  without a trace: telemetry is off"),
        }
    }
    Ok(())
}

/// The gateway, as a user of its API sees it.
struct Client<'a> {
    http: HttpClient,
    gateway: &'a str,
}

impl Client<'_> {
    /// The first wine from `row` on whose prediction is not stored: on a first start that one, later another.
    async fn first_miss(&self, mut row: u32, variant: Option<&str>) -> anyhow::Result<Answer> {
        for attempt in 1..=TRIES {
            let answer = self.ask(&format!("wine-{row:04}"), variant).await?;
            if answer.prediction["cached"] == Value::Bool(false) {
                return Ok(answer);
            }
            // Steps that grow find a wine that was never asked for in few tries, however often the system was started.
            row = (row + attempt * attempt * 7) % 1599 + 1;
        }
        bail!(
            "the predictions of {TRIES} wines are stored already; start on an empty folder with --data-dir to see a miss"
        )
    }

    async fn ask(&self, data_id: &str, variant: Option<&str>) -> anyhow::Result<Answer> {
        let body = json!({"model": "wine_quality", "data_ids": [data_id]}).to_string();
        let mut request = Request::post(format!("{}/v1/predictions", self.gateway))
            .header("content-type", "application/json");
        if let Some(variant) = variant {
            request = request.header("baggage", format!("ml.variant={variant}"));
        }
        let request = request.body(Bytes::from(body))?;
        let start = Instant::now();
        let answer = self
            .http
            .send(request, Duration::from_secs(10))
            .await
            .context("the sample request failed")?;
        let took = start.elapsed();
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        if answer.status() != StatusCode::OK {
            bail!(
                "the gateway answers {} to the sample request: {body}",
                answer.status()
            );
        }
        let traceresponse = answer
            .headers()
            .get("traceresponse")
            .and_then(|value| value.to_str().ok());
        let trace_id = traceresponse
            .and_then(SpanRef::from_traceparent)
            .map(|ids| ids.trace_id);
        Ok(Answer {
            data_id: data_id.to_owned(),
            prediction: body["predictions"][0].clone(),
            trace_id,
            took,
        })
    }
}

/// The number in `wine-0001`.
fn row(data_id: &str) -> u32 {
    data_id
        .rsplit('-')
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(1)
}

fn heading(title: &str, answer: &Answer) {
    let prediction = &answer.prediction;
    screen::say("");
    screen::say(format!(
        "{}  {} is {} (confidence {:.3}, model version {}) in {:.1} ms",
        screen::paint("1", title),
        answer.data_id,
        prediction["label"].as_str().unwrap_or("?"),
        prediction["confidence"].as_f64().unwrap_or(f64::NAN),
        prediction["model_version"].as_str().unwrap_or("?"),
        answer.took.as_secs_f64() * 1e3,
    ));
}

/// Prints the trace as soon as it is whole: every span that must be there is, one root, nobody without a parent.
async fn show(explorer: &Explorer, trace_id: &str, expected: &[&str]) -> anyhow::Result<()> {
    let deadline = Instant::now() + TRACE_TIMEOUT;
    loop {
        let trace = explorer.trace(trace_id).await?;
        let missing = trace.as_ref().map_or_else(
            || {
                expected
                    .iter()
                    .map(|name| format!("{name} is missing"))
                    .collect()
            },
            |trace| missing(trace, expected),
        );
        match trace {
            Some(trace) if missing.is_empty() => {
                screen::say(screen::waterfall(&trace));
                return Ok(());
            }
            Some(trace) if Instant::now() > deadline => {
                screen::say(screen::waterfall(&trace));
                bail!(
                    "the trace {trace_id} is not complete: {}",
                    missing.join(", ")
                );
            }
            None if Instant::now() > deadline => {
                bail!("the trace {trace_id} did not arrive at the explorer")
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn missing(trace: &Trace, expected: &[&str]) -> Vec<String> {
    let names: BTreeSet<&str> = trace.spans.iter().map(|span| span.name.as_str()).collect();
    let absent = expected
        .iter()
        .filter(|name| !names.contains(*name))
        .map(|name| format!("{name} is missing"));
    absent.chain(explorer::tree::problems(trace)).collect()
}
