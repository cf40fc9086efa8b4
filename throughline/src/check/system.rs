//! The system answers, and the traces of its answers are complete.

use std::collections::BTreeSet;
use std::time::Instant;

use explorer::Trace;
use explorer::trace::SpanKind;
use http::StatusCode;
use serde_json::Value;

use super::Checklist;
use super::gateway::{Answer, Ask, MODEL};
use super::report::Row;
use super::wait::{Look, until};

/// How problems with clocks begin.
const CLOCK: &str = "clock: ";

/// One computed prediction.
pub(super) struct Sample {
    /// `None` if the gateway chose.
    pub(super) variant: Option<String>,
    pub(super) data_id: String,
    pub(super) run_id: String,
    pub(super) trace_id: String,
    /// The whole trace, once it has arrived.
    pub(super) trace: Option<Trace>,
}

impl Sample {
    fn subject(&self) -> String {
        self.variant.clone().unwrap_or_default()
    }
}

/// The span around the computation of the model.
pub(super) fn predict_span() -> String {
    format!("predict {MODEL}")
}

impl Checklist {
    pub(super) async fn gateway_is_ready(&mut self) -> bool {
        let start = "Start the system (`throughline up`, or docs/deployment.md), or name its address with --gateway.";
        let (ready, row) = match self.gateway.get("/readyz").await {
            Ok(answer) if answer.status == StatusCode::OK => (
                true,
                Row::passed("gateway.ready", format!("after {}", milliseconds(&answer))),
            ),
            Ok(answer) => (
                false,
                Row::failed(
                    "gateway.ready",
                    format!("/readyz answers {}: {}", answer.status, answer.body),
                    "Its detail names the part that is missing; see that part's log.",
                ),
            ),
            Err(error) => (
                false,
                Row::failed("gateway.ready", format!("{error:#}"), start),
            ),
        };
        self.report.add(row);
        ready
    }

    /// A prediction that is computed now, of each variant with traffic.
    pub(super) async fn ask_each_variant(&mut self) {
        for variant in self.variants().await {
            let data_id = self.wine();
            let ask = Ask {
                variant: variant.as_deref(),
                compute: true,
                ..Ask::default()
            };
            let answer = self.gateway.predict(&data_id, ask).await;
            let (row, sample) = judge_answer(answer, data_id, variant.clone());
            self.report.add(row.of(variant.unwrap_or_default()));
            self.samples.extend(sample);
        }
    }

    /// The variants that answer; one without a name if the gateway does not tell.
    async fn variants(&self) -> Vec<Option<String>> {
        let body = self.gateway.get("/v1/models").await;
        let body = body.map(|answer| answer.body).unwrap_or_default();
        let models = body["models"].as_array().into_iter().flatten();
        let ours = models.filter(|model| model["name"] == MODEL);
        let variants: Vec<&Value> = ours
            .flat_map(|model| model["variants"].as_array().into_iter().flatten())
            .filter(|variant| {
                variant["weight"]
                    .as_f64()
                    .is_some_and(|weight| weight > 0.0)
            })
            .collect();
        match variants.as_slice() {
            // With one variant there is nothing to choose.
            [] | [_] => vec![None],
            several => several
                .iter()
                .map(|variant| variant["name"].as_str().map(str::to_owned))
                .collect(),
        }
    }

    pub(super) async fn answer_from_the_store(&mut self) {
        let Some(sample) = self.samples.first() else {
            return;
        };
        let ask = Ask {
            variant: sample.variant.as_deref(),
            ..Ask::default()
        };
        let row = match self.gateway.predict(&sample.data_id, ask).await {
            Ok(answer) if answer.prediction()["cached"] == true => Row::passed(
                "sample.stored",
                format!("the same again from the store in {}", milliseconds(&answer)),
            ),
            Ok(answer) => Row::failed(
                "sample.stored",
                format!("the second answer is computed again: {}", answer.body),
                "See the detail of the gateway's /readyz: is the prediction store reachable and writable?",
            ),
            Err(error) => Row::failed(
                "sample.stored",
                format!("{error:#}"),
                "See the gateway's log.",
            ),
        };
        self.report.add(row);
    }

    /// More work for the durations of the stages. Failures show in the other rows.
    pub(super) async fn compute_predictions(&mut self) {
        for _ in 0..self.args.requests {
            let wine = self.wine();
            let ask = Ask {
                compute: true,
                ..Ask::default()
            };
            let _ = self.gateway.predict(&wine, ask).await;
        }
    }

    pub(super) async fn place_answers(&mut self) -> bool {
        let answered = self.place.services().await;
        let row = match &answered {
            Ok(services) => {
                let services: Vec<&str> = services.iter().map(String::as_str).collect();
                let detail = format!("{} has telemetry of: {}", self.place, services.join(", "));
                Row::passed("place.answers", detail)
            }
            Err(error) => Row::failed(
                "place.answers",
                format!("{error:#}"),
                "Name the place where the telemetry goes: --explorer, --elasticsearch or --jaeger.",
            ),
        };
        self.report.add(row);
        answered.is_ok()
    }

    /// Each sample's trace has one root, no orphan, and spans of every part.
    pub(super) async fn traces_are_complete(&mut self) {
        if self.samples.is_empty() {
            let why = "no request was answered with a trace id";
            self.report.add(Row::skipped("trace.complete", why));
        }
        let deadline = Instant::now() + self.args.timeout;
        for at in 0..self.samples.len() {
            let sample = &self.samples[at];
            let place = &self.place;
            let found = until(deadline, async || {
                let Some(trace) = place.trace(&sample.trace_id).await? else {
                    return Ok(Look::Missing("the trace has not arrived".to_owned()));
                };
                Ok(match faults(&trace) {
                    faults if faults.is_empty() => Look::Found(trace),
                    faults => Look::Missing(faults.join("; ")),
                })
            })
            .await;
            let row = match &found {
                Ok(trace) => Row::passed("trace.complete", summary(trace)),
                Err(missing) => Row::failed(
                    "trace.complete",
                    missing,
                    "Give every part the same OTEL_EXPORTER_OTLP_ENDPOINT, and look for telemetry.export_failed in their output. With tail sampling, keep synthetic requests.",
                ),
            };
            let row = row.of(sample.subject()).with_trace(&sample.trace_id);
            self.report.add(row);
            self.samples[at].trace = found.ok();
        }
    }
}

fn judge_answer(
    answer: anyhow::Result<Answer>,
    data_id: String,
    variant: Option<String>,
) -> (Row, Option<Sample>) {
    let answer = match answer {
        Ok(answer) if answer.status == StatusCode::OK => answer,
        Ok(answer) => {
            let detail = format!("{} for {data_id}: {}", answer.status, answer.body);
            let remedy = "The answer's `detail` names the cause; `throughline variants` shows the health of each variant.";
            return (Row::failed("sample.answered", detail, remedy), None);
        }
        Err(error) => {
            let remedy = "See the gateway's log.";
            return (
                Row::failed("sample.answered", format!("{error:#}"), remedy),
                None,
            );
        }
    };
    let prediction = answer.prediction();
    let text = |name: &str| prediction[name].as_str().unwrap_or_default().to_owned();
    let detail = format!(
        "{data_id} is {} ({:.2}, version {}) in {}",
        text("label"),
        prediction["confidence"].as_f64().unwrap_or_default(),
        text("model_version"),
        milliseconds(&answer),
    );
    let Some(trace_id) = answer.trace_id.clone() else {
        let detail = format!("{detail}, but the answer has no traceresponse");
        let remedy = "Telemetry is off: unset OTEL_SDK_DISABLED and OTEL_TRACES_EXPORTER=none, and let no proxy remove the header.";
        return (Row::failed("sample.answered", detail, remedy), None);
    };
    let sample = Sample {
        variant,
        data_id,
        run_id: text("run_id"),
        trace_id: trace_id.clone(),
        trace: None,
    };
    (
        Row::passed("sample.answered", detail).with_trace(trace_id),
        Some(sample),
    )
}

/// What a trace lacks to be the whole way of a computed prediction.
fn faults(trace: &Trace) -> Vec<String> {
    let mut faults = shape_faults(trace);
    let serves = |service: &str| {
        let mut spans = trace.spans.iter();
        spans.any(|span| span.service == service && span.kind == SpanKind::Server)
    };
    for service in ["gateway", "feature-store"] {
        if !serves(service) {
            faults.push(format!("no SERVER span of {service}"));
        }
    }
    if trace.span(&predict_span()).is_none() {
        faults.push(format!("no span {}", predict_span()));
    }
    // `INSERT predictions` in SQLite, `bulk predictions` in Elasticsearch.
    let stores = |span: &explorer::SpanData| {
        ["INSERT predictions", "bulk predictions"].contains(&span.name.as_str())
    };
    if !trace.spans.iter().any(stores) {
        faults.push("no span of the prediction store's write".to_owned());
    }
    faults
}

/// Roots too many, orphans, cycles. Clocks of different machines may differ by milliseconds, which is
/// for the operator to judge and makes no trace incomplete.
pub(super) fn shape_faults(trace: &Trace) -> Vec<String> {
    let mut problems = explorer::tree::problems(trace);
    problems.retain(|problem| !problem.starts_with(CLOCK));
    problems
}

fn summary(trace: &Trace) -> String {
    let spans = trace.spans.len();
    let services = trace.services().join(", ");
    let mut summary = format!("{spans} spans, one root, no orphan: {services}");
    let problems = explorer::tree::problems(trace);
    for clock in problems.iter().filter(|problem| problem.starts_with(CLOCK)) {
        summary.push_str("; ");
        summary.push_str(clock);
    }
    summary
}

fn milliseconds(answer: &Answer) -> String {
    format!("{:.1} ms", answer.took.as_secs_f64() * 1e3)
}

/// The services that the samples' traces crossed, and those that every deployment has.
pub(super) fn services(samples: &[Sample]) -> BTreeSet<String> {
    let crossed = samples.iter().filter_map(|sample| sample.trace.as_ref());
    let crossed = crossed.flat_map(Trace::services).map(str::to_owned);
    let always = ["gateway", "feature-store"].map(str::to_owned);
    crossed.chain(always).collect()
}
