//! `throughline trace` and `throughline traces`: the explorer in the terminal.

use std::fmt::Write as _;

use anyhow::Context;
use explorer::TraceSummary;
use telemetry::SpanRef;

use crate::cli::{TraceArgs, TracesArgs};
use crate::explorer_client::ExplorerClient;
use crate::screen;

/// Prints one trace.
pub(crate) fn trace(args: &TraceArgs) -> anyhow::Result<()> {
    // The argument may be the id, or a whole header with the id in it.
    let trace_id = SpanRef::from_traceparent(&args.trace_id)
        .map_or_else(|| args.trace_id.clone(), |ids| ids.trace_id);
    let trace = block_on(async {
        ExplorerClient::new(&args.explorer.url)?
            .trace(&trace_id)
            .await
    })?;
    let trace = trace.with_context(|| {
        format!("the explorer has no trace {trace_id}: it may have been evicted, or never sampled")
    })?;
    screen::say(screen::waterfall(&trace));
    Ok(())
}

/// Lists traces, newest first.
pub(crate) fn list(args: &TracesArgs) -> anyhow::Result<()> {
    let mut query = format!("limit={}", args.limit);
    let min_duration = args.min_duration_ms.map(|ms| ms.to_string());
    for (name, value) in [
        ("service", &args.service),
        ("model", &args.model),
        ("min_duration_ms", &min_duration),
        ("status", &args.status),
    ] {
        if let Some(value) = value {
            let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            let _ = write!(query, "&{name}={encoded}");
        }
    }
    let traces = block_on(async {
        ExplorerClient::new(&args.explorer.url)?
            .traces(&query)
            .await
    })?;
    if traces.is_empty() {
        screen::say("no traces");
    }
    for trace in &traces {
        screen::say(summary(trace));
    }
    Ok(())
}

fn summary(trace: &TraceSummary) -> String {
    format!(
        "{}  {:>9.2} ms  {:>3} spans  {:<5}  {:<15} {}",
        trace.trace_id,
        trace.duration_ms,
        trace.spans,
        if trace.error { "error" } else { "ok" },
        trace.root_service,
        trace.root_name,
    )
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
