//! The sample: requests one prediction twice and prints both traces.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use explorer::Trace;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use telemetry::SpanRef;
use telemetry::client::HttpClient;

use super::LocalSystem;
use crate::client::ApiKeyOption;
use crate::explorer_client::ExplorerClient;
use crate::{screen, wine_data};

/// How long a trace may take to be complete: every process exports on its own schedule.
const TRACE_TIMEOUT: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(50);
const TRIES: u32 = 40;
/// The root of every sample's trace.
const ROOT: &str = "POST /v1/predictions";

/// One prediction and its trace.
struct Sample {
    data_id: String,
    prediction: Value,
    trace_id: Option<String>,
    took: Duration,
}

/// Requests a prediction that is not stored yet, then the same again, and with a Python worker one
/// of the canary. With an explorer all traces must become complete.
pub(crate) async fn run(system: &LocalSystem, key: &ApiKeyOption) -> anyhow::Result<()> {
    let (read, write) = system.store_spans();
    let client = GatewayClient {
        http: crate::client::http()?,
        gateway: system.gateway()?,
        key,
    };
    // With one variant there is nothing to choose, and the plainest request is the best sample.
    let primary = system.worker().map(|_| "primary");
    let miss = client.first_miss(1, primary).await?;
    let hit = client.predict(&miss.data_id, primary).await?;
    if hit.prediction["cached"] != Value::Bool(true) {
        bail!(
            "the second request for {} was not answered from the prediction store: {}",
            hit.data_id,
            hit.prediction
        );
    }
    // The root is expected by name, since a trace whose first spans have not arrived may look like
    // one with a remote caller.
    let miss_spans = [ROOT, "predict wine_quality", system.feature_span(), write];
    // Another wine: the feature store has cached the features of this one, and a miss should show
    // the look-up.
    let next_row = row(&miss.data_id) % wine_data::ROWS + 1;
    show(system, "A miss: computed by the model", &miss, &miss_spans).await?;
    show(
        system,
        "A hit: from the prediction store",
        &hit,
        &[ROOT, read],
    )
    .await?;
    if system.worker().is_some() {
        let canary = client.first_miss(next_row, Some("canary")).await?;
        show(
            system,
            "A miss of the canary: computed in Python",
            &canary,
            &miss_spans,
        )
        .await?;
    }
    Ok(())
}

async fn show(
    system: &LocalSystem,
    title: &str,
    sample: &Sample,
    expected: &[&str],
) -> anyhow::Result<()> {
    heading(title, sample);
    match (system.explorer(), &sample.trace_id) {
        (Some(explorer), Some(trace_id)) => {
            let explorer = ExplorerClient::new(explorer)?;
            show_trace(&explorer, trace_id, expected).await?;
        }
        (None, Some(trace_id)) => {
            screen::say(format!(
                "  its trace {trace_id} went to the OTLP endpoint; whether it is whole there was not checked"
            ));
        }
        (Some(_), None) => bail!("the answer has no trace id (is OTEL_SDK_DISABLED set?)"),
        (None, None) => screen::say("  without a trace: telemetry is off"),
    }
    Ok(())
}

/// A client of the gateway's API.
struct GatewayClient<'a> {
    http: HttpClient,
    gateway: &'a str,
    key: &'a ApiKeyOption,
}

impl GatewayClient<'_> {
    /// The first wine from `row` on whose prediction is not stored: that one on a first start,
    /// another one later.
    async fn first_miss(&self, mut row: u32, variant: Option<&str>) -> anyhow::Result<Sample> {
        for attempt in 1..=TRIES {
            let answer = self.predict(&format!("wine-{row:04}"), variant).await?;
            if answer.prediction["cached"] == Value::Bool(false) {
                return Ok(answer);
            }
            // Growing steps find a free wine in few tries, however often the system was started.
            row = (row + attempt * attempt * 7) % wine_data::ROWS + 1;
        }
        bail!(
            "the predictions of {TRIES} wines are stored already; start on an empty folder with --data-dir to see a miss"
        )
    }

    async fn predict(&self, data_id: &str, variant: Option<&str>) -> anyhow::Result<Sample> {
        let body = json!({"model": "wine_quality", "data_ids": [data_id]}).to_string();
        let mut request = Request::post(format!("{}/v1/predictions", self.gateway))
            .header("content-type", "application/json");
        if let Some(variant) = variant {
            request = request.header("baggage", format!("ml.variant={variant}"));
        }
        let mut request = request.body(Bytes::from(body))?;
        self.key.add_to(request.headers_mut());
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
        Ok(Sample {
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

fn heading(title: &str, sample: &Sample) {
    let prediction = &sample.prediction;
    screen::say("");
    screen::say(format!(
        "{}  {} is {} (confidence {:.3}, model version {}) in {:.1} ms",
        screen::paint("1", title),
        sample.data_id,
        prediction["label"].as_str().unwrap_or("?"),
        prediction["confidence"].as_f64().unwrap_or(f64::NAN),
        prediction["model_version"].as_str().unwrap_or("?"),
        sample.took.as_secs_f64() * 1e3,
    ));
}

/// Prints the trace as soon as it is complete: the expected spans, one root, no orphans.
async fn show_trace(
    explorer: &ExplorerClient,
    trace_id: &str,
    expected: &[&str],
) -> anyhow::Result<()> {
    let deadline = Instant::now() + TRACE_TIMEOUT;
    loop {
        let trace = explorer.trace(trace_id).await?;
        let late = Instant::now() > deadline;
        let Some(trace) = trace else {
            if late {
                bail!("the trace {trace_id} did not arrive at the explorer");
            }
            tokio::time::sleep(POLL).await;
            continue;
        };
        let faults = faults(&trace, expected);
        if faults.is_empty() || late {
            screen::say(screen::waterfall(&trace));
        }
        if faults.is_empty() {
            return Ok(());
        }
        if late {
            bail!(
                "the trace {trace_id} is not complete: {}",
                faults.join(", ")
            );
        }
        tokio::time::sleep(POLL).await;
    }
}

fn faults(trace: &Trace, expected: &[&str]) -> Vec<String> {
    let names: BTreeSet<&str> = trace.spans.iter().map(|span| span.name.as_str()).collect();
    let absent = expected.iter().filter(|name| !names.contains(*name));
    let absent = absent.map(|name| format!("{name} is missing"));
    absent.chain(explorer::tree::problems(trace)).collect()
}
