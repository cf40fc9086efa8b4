//! The sample: requests one prediction twice and one of a text, and prints the traces.
//!
//! `throughline up` runs it on its own processes, `throughline sample` on any deployment.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use explorer::Trace;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use telemetry::SpanRef;
use telemetry::client::HttpClient;

use crate::cli::SampleArgs;
use crate::data_sets::TEXT_SENTIMENT;
use crate::explorer_client::ExplorerClient;
use crate::{data_sets, screen, variants};

const POLL: Duration = Duration::from_millis(50);
const TRIES: u32 = 40;
/// The root of every sample's trace.
const ROOT: &str = "POST /v1/predictions";
const MODEL: &str = "wine_quality";

/// The variant that the Python worker serves, and for texts the encoder.
const CANARY: &str = "canary";

/// The system that the sample is sent to.
#[derive(Debug)]
pub(crate) struct Target {
    /// Address of the gateway.
    pub(crate) gateway: String,
    pub(crate) traces: Traces,
    /// Whether a Python worker serves the variant `canary`.
    pub(crate) canary: bool,
    /// Whether there is a model for texts.
    pub(crate) texts: bool,
    /// Whether an encoder serves the variant `canary` of it.
    pub(crate) text_canary: bool,
    /// Spans of a miss besides those that every system has.
    pub(crate) miss_spans: Vec<&'static str>,
    /// The same of a miss of a text.
    pub(crate) text_spans: Vec<&'static str>,
    /// Spans of a hit besides its root.
    pub(crate) hit_spans: Vec<&'static str>,
    /// How long a trace may take to be complete: every process exports on its own schedule.
    pub(crate) trace_timeout: Duration,
}

/// Where the traces of the system end up.
#[derive(Debug)]
pub(crate) enum Traces {
    /// To the explorer at this address.
    Explorer(String),
    /// To an endpoint that cannot be asked.
    Elsewhere,
    /// Not all of them are recorded, because variables of the environment say so.
    NotAll,
}

/// One prediction and its trace.
struct Sample {
    /// The id of the wine, or the text.
    asked: String,
    prediction: Value,
    trace_id: Option<String>,
    took: Duration,
}

/// `throughline sample`: waits until the deployment can answer, and sends it the sample.
pub(crate) fn main(args: &SampleArgs) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let (names, texts) = wait_for_variants(args).await?;
            let target = Target {
                gateway: args.gateway.url.clone(),
                traces: if args.no_explorer {
                    Traces::Elsewhere
                } else {
                    Traces::Explorer(args.explorer.url.clone())
                },
                canary: names.iter().any(|name| name == CANARY),
                texts,
                text_canary: false,
                // Which database is behind them is the deployment's business.
                miss_spans: vec!["POST /get-online-features"],
                text_spans: Vec::new(),
                hit_spans: Vec::new(),
                trace_timeout: args.trace_timeout,
            };
            run(&target).await
        })
}

/// The variants of the sample's model, once all of them are healthy, and whether there is a model for
/// texts.
async fn wait_for_variants(args: &SampleArgs) -> anyhow::Result<(Vec<String>, bool)> {
    let deadline = Instant::now() + args.wait;
    loop {
        let answer = variants::read(&args.gateway.url).await;
        let names = answer.and_then(|answer| {
            let texts = answer["models"].as_array().is_some_and(|models| {
                models
                    .iter()
                    .any(|model| model["name"] == TEXT_SENTIMENT.model)
            });
            Ok((healthy_variants(&answer)?, texts))
        });
        let problem = match names {
            Ok((names, _)) if args.canary && !names.iter().any(|name| name == CANARY) => {
                anyhow!("{MODEL} has no variant {CANARY}; see docs/variants.md")
            }
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        if Instant::now() > deadline {
            return Err(problem);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn healthy_variants(answer: &Value) -> anyhow::Result<Vec<String>> {
    let models = answer["models"].as_array().map(Vec::as_slice);
    let model = models
        .unwrap_or_default()
        .iter()
        .find(|model| model["name"] == MODEL)
        .with_context(|| format!("the gateway has no model {MODEL}; is one trained?"))?;
    let variants = model["variants"].as_array().map(Vec::as_slice);
    let variants = variants.unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    for variant in variants {
        if variant["health"] != "ready" {
            bail!(
                "the variant {} of {MODEL} is {}",
                text(&variant["name"]),
                text(&variant["health"])
            );
        }
    }
    Ok(variants
        .iter()
        .map(|variant| text(&variant["name"]))
        .collect())
}

/// Requests a prediction that is not stored yet, then the same again, one of a text, and with a Python
/// worker one of the canary. With an explorer all traces must become complete.
pub(crate) async fn run(target: &Target) -> anyhow::Result<()> {
    let client = GatewayClient {
        http: crate::client::gateway()?,
        gateway: &target.gateway,
    };
    // With one variant there is nothing to choose, and the plainest request is the best sample.
    let primary = target.canary.then_some("primary");
    let miss = client.first_miss(wine, 1, primary).await?;
    let hit = client.predict(&wine(row(&miss.asked)), primary).await?;
    if hit.prediction["cached"] != Value::Bool(true) {
        bail!(
            "the second request for {} was not answered from the prediction store: {}",
            hit.asked,
            hit.prediction
        );
    }
    // The root is expected by name, since a trace whose first spans have not arrived may look like
    // one with a remote caller.
    let miss_spans = [&[ROOT, "predict wine_quality"], &*target.miss_spans].concat();
    let hit_spans = [&[ROOT], &*target.hit_spans].concat();
    // Another wine: the feature store has cached the features of this one, and a miss should show
    // the look-up.
    let next_row = row(&miss.asked) % data_sets::WINES + 1;
    show(target, "A miss: computed by the model", &miss, &miss_spans).await?;
    show(target, "A hit: from the prediction store", &hit, &hit_spans).await?;
    if target.texts {
        let expected = [&[ROOT, "predict text_sentiment"], &*target.text_spans].concat();
        let primary = target.text_canary.then_some("primary");
        let miss = client.first_miss(review, 2, primary).await?;
        let title = "A text: computed by the model";
        show(target, title, &miss, &expected).await?;
        if target.text_canary {
            let canary = client.first_miss(review, 2, Some(CANARY)).await?;
            let title = "The same text by the canary: computed on the encoder";
            let expected = [&["layer encoder_1"], &*expected].concat();
            show(target, title, &canary, &expected).await?;
        }
    }
    if target.canary {
        let canary = client.first_miss(wine, next_row, Some(CANARY)).await?;
        let title = "A miss of the canary: computed in Python";
        show(target, title, &canary, &miss_spans).await?;
    }
    Ok(())
}

async fn show(
    target: &Target,
    title: &str,
    sample: &Sample,
    expected: &[&str],
) -> anyhow::Result<()> {
    heading(title, sample);
    match (&target.traces, &sample.trace_id) {
        (Traces::Explorer(explorer), Some(trace_id)) => {
            let explorer = ExplorerClient::new(explorer)?;
            show_trace(&explorer, trace_id, expected, target.trace_timeout).await?;
        }
        (Traces::Elsewhere, Some(trace_id)) => {
            screen::say(format!(
                "  its trace {trace_id} went to the OTLP endpoint; whether it is whole there was not checked"
            ));
        }
        (Traces::NotAll, Some(trace_id)) => screen::say(format!(
            "  its trace {trace_id} may not be recorded: OTEL_TRACES_SAMPLER or OTEL_TRACES_EXPORTER leaves out traces"
        )),
        (Traces::Explorer(_), None) => {
            bail!("the answer has no trace id (is OTEL_SDK_DISABLED set?)")
        }
        (Traces::Elsewhere | Traces::NotAll, None) => {
            screen::say("  without a trace: telemetry is off");
        }
    }
    Ok(())
}

/// What is asked for, of a model.
#[derive(Clone, Debug)]
struct Ask {
    model: &'static str,
    field: &'static str,
    value: String,
}

fn wine(row: u32) -> Ask {
    Ask {
        model: MODEL,
        field: "data_ids",
        value: format!("wine-{row:04}"),
    }
}

/// One of many texts, for the same reason as one of many wines: there must be one that is not stored.
fn review(number: u32) -> Ask {
    Ask {
        model: TEXT_SENTIMENT.model,
        field: "texts",
        value: format!(
            "A great camera, but I was disappointed by the battery after {number} days."
        ),
    }
}

/// A client of the gateway's API.
struct GatewayClient<'a> {
    http: HttpClient,
    gateway: &'a str,
}

impl GatewayClient<'_> {
    /// The first wine or text from `row` on whose prediction is not stored: that one on a first
    /// start, another one later.
    async fn first_miss(
        &self,
        ask: fn(u32) -> Ask,
        mut row: u32,
        variant: Option<&str>,
    ) -> anyhow::Result<Sample> {
        for attempt in 1..=TRIES {
            let answer = self.predict(&ask(row), variant).await?;
            if answer.prediction["cached"] == Value::Bool(false) {
                return Ok(answer);
            }
            // Growing steps find a free wine in few tries, however often the system was started.
            row = (row + attempt * attempt * 7) % data_sets::WINES + 1;
        }
        // Of a system that has been used for long: it computes again.
        self.send(&ask(row), variant, "no-cache").await
    }

    async fn predict(&self, ask: &Ask, variant: Option<&str>) -> anyhow::Result<Sample> {
        self.send(ask, variant, "").await
    }

    async fn send(
        &self,
        ask: &Ask,
        variant: Option<&str>,
        cache_control: &str,
    ) -> anyhow::Result<Sample> {
        let body = json!({"model": ask.model, ask.field: [ask.value]}).to_string();
        let mut request = Request::post(format!("{}/v1/predictions", self.gateway))
            .header("content-type", "application/json");
        if !cache_control.is_empty() {
            request = request.header("cache-control", cache_control);
        }
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
            .map(|ids| ids.trace_id.to_string());
        Ok(Sample {
            asked: ask.value.clone(),
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
        sample.asked,
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
    timeout: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
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
