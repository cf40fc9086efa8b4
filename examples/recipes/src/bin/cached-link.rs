//! A span link beside a cached value: docs/recipes/cached-link.md.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use telemetry::{Settings, Span, SpanRef, current};

/// What is stored: the value, and the span that computed it.
#[derive(Deserialize, Serialize)]
struct Cached {
    value: u64,
    /// `traceparent` of the span; `None` if that span was not recorded, so that nobody follows a
    /// link to nowhere.
    computed_by: Option<String>,
}

#[expect(clippy::print_stdout, reason = "what it was started for")]
fn main() -> Result<()> {
    let number = std::env::args()
        .nth(1)
        .context("usage: cached-link NUMBER")?;
    let number = number.parse().context("NUMBER is a whole number")?;
    let guard = telemetry::init(&Settings::from_env(
        "cached-link",
        env!("CARGO_PKG_VERSION"),
    ))?;
    let request = Span::start("square", Vec::new());
    let outcome = request.in_scope(|| answer(number));
    let trace_id = request.span_ref().map(|span| span.trace_id.to_string());
    drop(request);
    guard.shutdown(Duration::from_secs(2));
    let (value, cached) = outcome?;
    let from = if cached { "hit" } else { "miss" };
    println!("{value} {from} {}", trace_id.unwrap_or_default());
    Ok(())
}

/// The value, and whether it came from the cache.
fn answer(number: u64) -> Result<(u64, bool)> {
    let file = format!("square-{number}.json");
    if Path::new(&file).exists() {
        let cached: Cached = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        if let Some(span) = cached
            .computed_by
            .as_deref()
            .and_then(SpanRef::from_traceparent)
        {
            current().add_link(&span);
        }
        return Ok((cached.value, true));
    }
    let span = Span::start("compute square", Vec::new());
    let value = span.in_scope(|| number * number);
    let computed_by = span.span_ref().map(|span| span.traceparent());
    std::fs::write(
        &file,
        serde_json::to_string(&Cached { value, computed_by })?,
    )?;
    Ok((value, false))
}
