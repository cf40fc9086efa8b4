//! `throughline trace` and `throughline traces`: the explorer in the terminal.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use explorer::export::{self, Format};
use explorer::{Trace, TraceSummary};
use telemetry::SpanRef;

use crate::cli::{TraceArgs, TracesArgs};
use crate::explorer_client::ExplorerClient;
use crate::screen;

/// The pause between two looks at a trace that may still grow.
const POLL: Duration = Duration::from_millis(100);
/// A whole trace that did not grow for so long is printed; `throughline up` exports every 200 ms.
const QUIET: Duration = Duration::from_millis(600);

/// Prints one trace, once its spans have arrived.
pub(crate) fn trace(args: &TraceArgs) -> anyhow::Result<()> {
    // The argument may be the id, or a whole header with the id in it.
    let trace_id = SpanRef::from_traceparent(&args.trace_id)
        .map_or_else(|| args.trace_id.clone(), |ids| ids.trace_id.to_string());
    let text = block_on(async {
        let explorer = ExplorerClient::new(&args.explorer.url)?;
        let trace = settled(&explorer, &trace_id, args.wait).await?;
        let trace = trace.with_context(|| no_trace(&trace_id))?;
        Ok(match args.format {
            None if args.svg => explorer::diagram::svg(&trace),
            None => screen::waterfall(&trace),
            Some(Format::Perfetto) => export::perfetto(&trace).to_string(),
            Some(Format::Html) => export::html(&trace),
            Some(Format::Otlp) => {
                let document = explorer.otlp(&trace_id).await?;
                document.with_context(|| no_trace(&trace_id))?.to_string()
            }
        })
    })?;
    screen::say(text);
    Ok(())
}

fn no_trace(trace_id: &str) -> String {
    format!("the explorer has no trace {trace_id}: it may have been evicted, or never sampled")
}

/// The trace when it is whole and no longer grows, or what there is of it after `wait`.
async fn settled(
    explorer: &ExplorerClient,
    trace_id: &str,
    wait: Duration,
) -> anyhow::Result<Option<Trace>> {
    let deadline = Instant::now() + wait;
    let (mut spans, mut since) = (0, Instant::now());
    loop {
        let trace = explorer.trace(trace_id).await?;
        let count = trace.as_ref().map_or(0, |trace| trace.spans.len());
        if count != spans {
            (spans, since) = (count, Instant::now());
        }
        let whole = trace.as_ref().is_some_and(|trace| {
            trace.is_complete() && (since.elapsed() >= QUIET || ended_before(trace, wait))
        });
        if whole || Instant::now() >= deadline {
            return Ok(trace);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Whether the trace ended so long ago that nothing of it can be on its way.
fn ended_before(trace: &Trace, wait: Duration) -> bool {
    let end = UNIX_EPOCH + Duration::from_nanos(trace.end());
    SystemTime::now()
        .duration_since(end)
        .is_ok_and(|age| age > wait)
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
