//! What each tool reads, and how its answer is written.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, bail};
use explorer::comparison::{self, Difference, Row};
use explorer::{SpanData, Trace, self_time, tree, waterfall};
use rmcp::model::JsonObject;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use telemetry::SpanRef;

use super::answer;
use super::arguments::{
    CompareTraces, FindDifferences, FindLogs, FindTraces, ListModels, ListRules, ListServices,
    ReadMetric, ReadModel, ReadSpan, ReadTrace,
};
use crate::explorer_client::ExplorerClient;
use crate::gateway_client::GatewayClient;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Entries of a list without a limit.
const LIMIT: u32 = 20;
/// Columns of a waterfall.
const WIDTH: usize = 160;

/// The running system, as the tools see it.
pub(super) struct Tools {
    explorer: ExplorerClient,
    gateway: GatewayClient,
}

impl Tools {
    pub(super) fn new(explorer: &str, gateway: &str) -> anyhow::Result<Self> {
        Ok(Self {
            explorer: ExplorerClient::new(explorer)?,
            gateway: GatewayClient::new(gateway, TIMEOUT)?,
        })
    }

    /// Calls the tool of that name.
    pub(super) async fn call(&self, name: &str, arguments: JsonObject) -> anyhow::Result<String> {
        match name {
            "list_services" => {
                let ListServices {} = parsed(arguments)?;
                answer::lines(
                    self.explorer.services().await?,
                    "no service sent anything yet",
                )
            }
            "find_traces" => self.find_traces(&parsed(arguments)?).await,
            "read_trace" => self.read_trace(&parsed(arguments)?).await,
            "read_span" => self.read_span(&parsed(arguments)?).await,
            "compare_traces" => self.compare_traces(&parsed(arguments)?).await,
            "find_differences" => self.find_differences(&parsed(arguments)?).await,
            "find_logs" => self.find_logs(&parsed(arguments)?).await,
            "read_metric" => self.read_metric(parsed(arguments)?).await,
            "list_models" => {
                let ListModels {} = parsed(arguments)?;
                let models = self.gateway.get("/v1/models").await?;
                Ok(answer::text(&serde_json::to_string_pretty(&models)?))
            }
            "read_model" => {
                let ReadModel { name } = parsed(arguments)?;
                let mut model = self.explorer.model(&encoded(&name)).await?;
                shorten(&mut model);
                Ok(answer::text(&serde_json::to_string_pretty(&model)?))
            }
            "list_rules" => {
                let ListRules {} = parsed(arguments)?;
                let report = self.explorer.rules().await?;
                answer::lines(report.rules, "the explorer has no rules")
            }
            _ => bail!("there is no tool {name}; tools/list names them"),
        }
    }

    async fn find_traces(&self, wanted: &FindTraces) -> anyhow::Result<String> {
        let mut fields = vec![
            ("service", wanted.service.clone()),
            ("model", wanted.model.clone()),
            ("status", wanted.status.clone()),
            ("q", wanted.text.clone()),
            (
                "min_duration_ms",
                wanted.min_duration_ms.map(|ms| ms.to_string()),
            ),
            (
                "max_duration_ms",
                wanted.max_duration_ms.map(|ms| ms.to_string()),
            ),
            ("since", wanted.since.clone()),
            ("limit", Some(wanted.limit.unwrap_or(LIMIT).to_string())),
        ];
        fields.extend(conditions(wanted.conditions.as_deref()));
        let query = query(&fields);
        answer::lines(self.explorer.traces(&query).await?, "no trace matches")
    }

    async fn read_trace(&self, wanted: &ReadTrace) -> anyhow::Result<String> {
        let trace = self.trace(&wanted.trace_id).await?;
        let style = waterfall::Style {
            width: WIDTH,
            colour: false,
        };
        let mut text = waterfall::render(&trace, &style);
        if let Some(most) = self_time::by_name(&trace)
            .into_iter()
            .max_by_key(|one| one.self_time)
        {
            let _ = writeln!(
                text,
                "most time of its own: {} of {}, {}",
                most.name,
                most.service,
                milliseconds(most.self_time)
            );
        }
        for problem in tree::problems(&trace) {
            let _ = writeln!(text, "problem: {problem}");
        }
        for span in trace.spans.iter().filter(|span| span.is_error()) {
            let _ = writeln!(
                text,
                "error: {} of {}: span {}",
                span.name, span.service, span.span_id
            );
        }
        Ok(answer::text(&text))
    }

    async fn read_span(&self, wanted: &ReadSpan) -> anyhow::Result<String> {
        let trace = self.trace(&wanted.trace_id).await?;
        let mut found = trace
            .spans
            .iter()
            .filter(|span| span.span_id == wanted.span || span.name == wanted.span);
        let span = found.next().with_context(|| {
            let names: Vec<&str> = trace.spans.iter().map(|span| span.name.as_str()).collect();
            let names = answer::shortened(&names.join(", "), answer::MAX_VALUE);
            format!("the trace has no span {}; it has {names}", wanted.span)
        })?;
        let others: Vec<&str> = found.take(20).map(|span| span.span_id.as_str()).collect();
        let of_trace = query(&[
            ("trace_id", Some(trace.trace_id.clone())),
            ("limit", Some("1000".to_owned())),
        ]);
        let logs = self.explorer.logs(&of_trace).await?;
        let logs = logs
            .into_iter()
            .filter(|log| log.span_id.as_deref() == Some(&span.span_id));
        let logs = logs.map(|log| {
            json!({"time": log.time, "severity": log.severity, "body": log.body, "attributes": log.attributes})
        });
        let mut whole = span_json(span);
        whole["logs"] = logs.collect();
        if !others.is_empty() {
            whole["others_of_this_name"] = json!(others);
        }
        shorten(&mut whole);
        Ok(answer::text(&serde_json::to_string_pretty(&whole)?))
    }

    async fn compare_traces(&self, wanted: &CompareTraces) -> anyhow::Result<String> {
        let a = self.trace(&wanted.a).await?;
        let b = self.trace(&wanted.b).await?;
        let mut text = format!(
            "a {} {}\nb {} {}\n",
            a.trace_id,
            milliseconds(a.duration()),
            b.trace_id,
            milliseconds(b.duration())
        );
        for row in comparison::compare(&a, &b).rows {
            // What is beyond is left out of the answer anyway; it need not be written.
            if text.len() > 2 * answer::MAX_BYTES {
                text.push_str("(more spans do not fit)\n");
                break;
            }
            let _ = writeln!(text, "{}", compared(&a, &b, &row));
        }
        Ok(answer::text(&text))
    }

    async fn find_differences(&self, wanted: &FindDifferences) -> anyhow::Result<String> {
        let mut fields = vec![
            ("compare", Some(wanted.selected.clone())),
            ("model", wanted.model.clone()),
            ("since", wanted.since.clone()),
        ];
        fields.extend(conditions(wanted.conditions.as_deref()));
        let mut found = self.explorer.difference(&query(&fields)).await?;
        let counts = format!(
            "{} selected, {} others, at least {} are needed",
            found["selected"], found["rest"], found["least_selected"]
        );
        let ranked = found["ranked"].as_array_mut().map(std::mem::take);
        let ranked = ranked
            .unwrap_or_default()
            .into_iter()
            .map(|mut difference| {
                shorten(&mut difference);
                difference
            });
        let lines = std::iter::once(Value::String(counts)).chain(ranked);
        answer::lines(lines, "nothing is compared")
    }

    async fn find_logs(&self, wanted: &FindLogs) -> anyhow::Result<String> {
        let query = query(&[
            ("q", wanted.text.clone()),
            ("severity", wanted.severity.clone()),
            ("service", wanted.service.clone()),
            ("trace_id", wanted.trace_id.clone()),
            ("limit", Some(wanted.limit.unwrap_or(LIMIT).to_string())),
        ]);
        let logs = self.explorer.logs(&query).await?;
        let logs = logs.into_iter().map(|log| {
            let mut entry = json!({"time": log.time, "severity": log.severity, "service": log.service, "event_name": log.event_name,
                "body": log.body, "trace_id": log.trace_id, "span_id": log.span_id, "attributes": log.attributes});
            shorten(&mut entry);
            entry
        });
        answer::lines(logs, "no log record matches")
    }

    async fn read_metric(&self, wanted: ReadMetric) -> anyhow::Result<String> {
        let Some(name) = wanted.name else {
            return answer::lines(self.explorer.metric_names().await?, "no metric arrived yet");
        };
        let series = self.explorer.metric(&encoded(&name)).await?;
        answer::lines(
            series,
            "no metric has this name; without a name, all names are listed",
        )
    }

    async fn trace(&self, id: &str) -> anyhow::Result<Trace> {
        let id = SpanRef::from_traceparent(id)
            .map_or_else(|| id.to_owned(), |ids| ids.trace_id.to_string());
        let found = self.explorer.trace(&encoded(&id)).await?;
        found.with_context(|| {
            format!("the explorer has no trace {id}: it may have been evicted, or never sampled")
        })
    }
}

/// The arguments of a tool. The error names the field, so that an agent can call again.
fn parsed<T: DeserializeOwned>(arguments: JsonObject) -> anyhow::Result<T> {
    serde_json::from_value(Value::Object(arguments)).context("the arguments are not valid")
}

fn span_json(span: &SpanData) -> Value {
    let events = span.events.iter();
    let events = events.map(|event| json!({"name": event.name, "attributes": event.attributes}));
    let links = span.links.iter();
    let links = links.map(|link| json!({"trace_id": link.trace_id, "span_id": link.span_id, "attributes": link.attributes}));
    json!({
        "name": span.name,
        "span_id": span.span_id,
        "parent": span.parent,
        "service": span.service,
        "kind": span.kind.to_string(),
        "duration": milliseconds(span.duration()),
        "error": span.is_error(),
        "attributes": span.attributes,
        "events": events.collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
        "resource": *span.resource,
    })
}

/// A line of the comparison; a span that is the same in both has only its durations.
fn compared(a: &Trace, b: &Trace, row: &Row) -> String {
    let (of_a, of_b) = (row.a.map(|at| &a.spans[at]), row.b.map(|at| &b.spans[at]));
    let indent = "  ".repeat(row.depth);
    match (of_a, of_b) {
        (Some(of_a), Some(of_b)) => {
            let times = format!(
                "{} → {}",
                milliseconds(of_a.duration()),
                milliseconds(of_b.duration())
            );
            let differences: Vec<String> = row.differences.iter().map(difference).collect();
            format!("{indent}{} {times} {}", of_a.name, differences.join(", "))
        }
        (Some(only), None) => format!(
            "{indent}{} only in a, {}",
            only.name,
            milliseconds(only.duration())
        ),
        (None, Some(only)) => format!(
            "{indent}{} only in b, {}",
            only.name,
            milliseconds(only.duration())
        ),
        (None, None) => String::new(),
    }
}

fn difference(difference: &Difference) -> String {
    let shown = |value: &Option<Value>| {
        let text = value
            .as_ref()
            .map_or_else(|| "–".to_owned(), Value::to_string);
        answer::shortened(&text, 100)
    };
    format!(
        "{}: {} → {}",
        difference.key,
        shown(&difference.a),
        shown(&difference.b)
    )
}

fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.3} ms", nanoseconds as f64 / 1e6)
}

/// Cuts long texts, at any depth.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => *text = answer::shortened(text, answer::MAX_VALUE),
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        _ => {}
    }
}

/// The conditions on attributes, each a parameter of its own.
fn conditions(given: Option<&[String]>) -> impl Iterator<Item = (&'static str, Option<String>)> {
    let given = given.unwrap_or_default().iter();
    given.map(|condition| ("where", Some(condition.clone())))
}

/// A query string of the arguments that are given.
fn query(arguments: &[(&str, Option<String>)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in arguments {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.finish()
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
