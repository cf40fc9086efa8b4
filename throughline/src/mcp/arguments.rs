//! The tools with the arguments of each; the doc comments are what an agent reads of them.

use std::sync::Arc;

use rmcp::model::{Tool, ToolAnnotations};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Deserialize;

/// What is known of each service: spans, errors, log records, metrics.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListServices {}

/// The newest traces that match all arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FindTraces {
    /// `service.name` of one of the trace's spans, such as gateway, model-service, feature-store.
    pub service: Option<String>,
    /// `ml.model_name` of one of its spans.
    pub model: Option<String>,
    /// ok or error.
    pub status: Option<String>,
    /// A part of a name, of a value of an attribute, or of the description of an error.
    pub text: Option<String>,
    /// Conditions on attributes, such as `ml.variant is canary` or `ml.output.confidence < 0.6`; operators are is, is not,
    /// contains, does not contain, > and <.
    pub conditions: Option<Vec<String>>,
    /// At least this many milliseconds long.
    pub min_duration_ms: Option<f64>,
    /// At most this many milliseconds long.
    pub max_duration_ms: Option<f64>,
    /// Started since then: 15m, 2h, or a time such as 2026-01-31T12:00:00Z.
    pub since: Option<String>,
    /// The most entries; 20 by default.
    pub limit: Option<u32>,
}

/// One trace as a tree of spans with durations, attributes in short and errors, and what is wrong with
/// its shape.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadTrace {
    /// 32 hex digits, or a traceparent.
    pub trace_id: String,
}

/// Everything of one span: attributes, resource, events with stacks, links, log records.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadSpan {
    /// 32 hex digits, or a traceparent.
    pub trace_id: String,
    /// The 16 hex digits of the span, or its name; of several spans of one name the first is read, and the ids of the others
    /// are said.
    pub span: String,
}

/// Two traces aligned by their trees: durations and attributes that differ, spans that only one has.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareTraces {
    /// The trace to compare with, such as a good one.
    pub a: String,
    /// The other one.
    pub b: String,
}

/// How some traces differ from the others: attributes, inputs, services, and where the time went, ranked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FindDifferences {
    /// Which traces: slow (the slowest tenth), failed, drifted, or variant=NAME. At least five are needed.
    pub selected: String,
    /// Among which: `ml.model_name` of one of its spans.
    #[serde(default)]
    pub model: Option<String>,
    /// Among which: conditions on attributes, as for `find_traces`.
    #[serde(default)]
    pub conditions: Option<Vec<String>>,
    /// Among which: started since then, as for `find_traces`.
    #[serde(default)]
    pub since: Option<String>,
}

/// The newest log records that match all arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FindLogs {
    /// A part of the text.
    pub text: Option<String>,
    /// The lowest severity: trace, debug, info, warn, error, fatal.
    pub severity: Option<String>,
    /// `service.name`.
    pub service: Option<String>,
    /// 32 hex digits.
    pub trace_id: Option<String>,
    /// The most entries; 20 by default.
    pub limit: Option<u32>,
}

/// The series of a metric with their newest values; without a name, the names of all metrics.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReadMetric {
    /// Such as ai.inference.latency or ml.drift.score.
    pub name: Option<String>,
}

/// The models of the gateway: variants with weights, versions, health, calls, latency, agreement.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListModels {}

/// One model as its telemetry shows it: latency of each stage by variant, confidences, labels, versions with commit, data and accuracy,
/// trainings, inputs against the training.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadModel {
    /// Such as `wine_quality`.
    pub name: String,
}

/// The alert rules with state, value, limit and the traces that caused them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListRules {}

/// All tools.
pub(super) fn tools() -> Vec<Tool> {
    vec![
        tool::<ListServices>("list_services"),
        tool::<FindTraces>("find_traces"),
        tool::<ReadTrace>("read_trace"),
        tool::<ReadSpan>("read_span"),
        tool::<CompareTraces>("compare_traces"),
        tool::<FindDifferences>("find_differences"),
        tool::<FindLogs>("find_logs"),
        tool::<ReadMetric>("read_metric"),
        tool::<ListModels>("list_models"),
        tool::<ReadModel>("read_model"),
        tool::<ListRules>("list_rules"),
    ]
}

/// The description of a tool is that of its arguments.
fn tool<T: JsonSchema>(name: &'static str) -> Tool {
    let schema = SchemaGenerator::new(SchemaSettings::draft2020_12()).into_root_schema_for::<T>();
    let mut schema = schema.as_object().cloned().unwrap_or_default();
    schema.remove("title");
    let description = schema.remove("description");
    let description = description.and_then(|text| text.as_str().map(str::to_owned));
    Tool::new(name, description.unwrap_or_default(), Arc::new(schema))
        .with_annotations(ToolAnnotations::new().read_only(true).open_world(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_says_what_it_does_and_what_it_takes() {
        for tool in tools() {
            let description = tool.description.unwrap_or_default();
            assert!(description.ends_with('.'), "{}: {description}", tool.name);
            let schema = &tool.input_schema;
            assert_eq!(schema["type"], "object", "{}", tool.name);
            assert_eq!(schema["additionalProperties"], false, "{}", tool.name);
            let properties = schema.get("properties").and_then(|of| of.as_object());
            for (name, property) in properties.into_iter().flatten() {
                assert!(property["description"].is_string(), "{}: {name}", tool.name);
            }
        }
    }
}
