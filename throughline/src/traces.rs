//! `throughline trace` and `throughline traces`: the explorer in the terminal.

use std::fmt::Write as _;

use anyhow::Context;
use serde_json::Value;
use telemetry::SpanRef;

use crate::cli::{TraceOptions, TracesOptions};
use crate::explorer_api::Explorer;
use crate::screen;

/// Prints one trace.
pub(crate) fn trace(options: &TraceOptions) -> anyhow::Result<()> {
    // People paste what they have: the id, or the header that holds it.
    let trace_id = SpanRef::from_traceparent(&options.trace_id)
        .map_or_else(|| options.trace_id.clone(), |ids| ids.trace_id);
    let trace = block_on(async {
        Explorer::new(&options.explorer.explorer)?
            .trace(&trace_id)
            .await
    })?;
    let trace = trace.with_context(|| {
        format!(
            "the explorer holds no trace {trace_id}: it may have been evicted, or never sampled"
        )
    })?;
    screen::say(screen::waterfall(&trace));
    Ok(())
}

/// Lists traces, newest first.
pub(crate) fn list(options: &TracesOptions) -> anyhow::Result<()> {
    let mut query = format!("/api/traces?limit={}", options.limit);
    let filters = [
        ("service", options.service.clone()),
        ("model", options.model.clone()),
        (
            "min_duration_ms",
            options.min_duration_ms.map(|ms| ms.to_string()),
        ),
        ("status", options.status.clone()),
    ];
    for (name, value) in filters
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    {
        let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let _ = write!(query, "&{name}={encoded}");
    }
    let found = block_on(async {
        Explorer::new(&options.explorer.explorer)?
            .read(&query)
            .await
    })?;
    let traces = found["traces"]
        .as_array()
        .context("the explorer's answer is no list of traces")?;
    if traces.is_empty() {
        screen::say("no traces");
    }
    for trace in traces {
        screen::say(summary(trace));
    }
    Ok(())
}

fn summary(trace: &Value) -> String {
    let text = |key: &str| trace[key].as_str().unwrap_or("-");
    let error = if trace["error"] == Value::Bool(true) {
        "error"
    } else {
        "ok"
    };
    format!(
        "{}  {:>9.2} ms  {:>3} spans  {error:<5}  {:<15} {}",
        text("trace_id"),
        trace["duration_ms"].as_f64().unwrap_or(f64::NAN),
        trace["spans"].as_u64().unwrap_or_default(),
        text("root_service"),
        text("root_name"),
    )
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
