//! `throughline variants`: the statistics of each model's variants, side by side.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cli::VariantsArgs;
use crate::gateway_client::GatewayClient;
use crate::screen;

const TIMEOUT: Duration = Duration::from_secs(5);
/// The columns of the table.
const HEADINGS: [&str; 9] = [
    "variant",
    "mode",
    "weight",
    "version",
    "health",
    "calls",
    "errors",
    "p50 / p95 ms",
    "confidence",
];

/// Prints a table per model, from the gateway's `GET /v1/models`.
pub(crate) fn main(args: &VariantsArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(read(&args.gateway.url))?;
    let mut models = answer["models"]
        .as_array()
        .context("the gateway's answer is not a list of models")?
        .clone();
    if let Some(name) = &args.model {
        models.retain(|model| model["name"] == **name);
        if models.is_empty() {
            bail!("the gateway has no model {name}");
        }
    }
    if models.is_empty() {
        bail!("the gateway has no model");
    }
    for model in &models {
        screen::say(table(model));
    }
    Ok(())
}

/// The gateway's `GET /v1/models`.
pub(crate) async fn read(gateway: &str) -> anyhow::Result<Value> {
    GatewayClient::new(gateway, TIMEOUT)?
        .get("/v1/models")
        .await
}

/// One model as a table, with sentences on labels and agreement below it.
fn table(model: &Value) -> String {
    let variants = model["variants"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(variants.iter().map(row));
    let mut widths = [0; HEADINGS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = screen::paint("1", model["name"].as_str().unwrap_or("?"));
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "  {cell:<width$}");
        }
        let _ = write!(text, "\n{}", line.trim_end());
    }
    for variant in variants {
        for sentence in [labels(variant), agreement(variant)].into_iter().flatten() {
            let _ = write!(text, "\n  {sentence}");
        }
    }
    text
}

fn row(variant: &Value) -> [String; HEADINGS.len()] {
    let statistics = &variant["statistics"];
    let latency = &statistics["latency_seconds"];
    let mean = statistics["confidence_mean"].as_f64();
    let weight = variant["weight"].as_u64();
    [
        text(&variant["name"]),
        text(&variant["mode"]),
        weight.map_or("-".to_owned(), |weight| weight.to_string()),
        text(&variant["version"]),
        text(&variant["health"]),
        count(&statistics["calls"]).to_string(),
        errors(statistics),
        format!("{} / {}", millis(&latency["p50"]), millis(&latency["p95"])),
        mean.map_or("-".to_owned(), |mean| format!("{mean:.3}")),
    ]
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn errors(statistics: &Value) -> String {
    let (calls, errors) = (count(&statistics["calls"]), count(&statistics["errors"]));
    if calls == 0 {
        return "-".to_owned();
    }
    format!("{errors} ({:.1} %)", errors as f64 * 100.0 / calls as f64)
}

fn millis(seconds: &Value) -> String {
    seconds
        .as_f64()
        .map_or("-".to_owned(), |seconds| format!("{:.1}", seconds * 1e3))
}

fn labels(variant: &Value) -> Option<String> {
    let shares = variant["statistics"]["label_shares"]
        .as_object()
        .filter(|shares| !shares.is_empty())?;
    let shares = shares
        .iter()
        .map(|(label, share)| format!("{label} {}", percent(share)));
    Some(format!(
        "{} answers {}",
        variant["name"].as_str()?,
        shares.collect::<Vec<_>>().join(", ")
    ))
}

fn agreement(variant: &Value) -> Option<String> {
    let agreement = &variant["statistics"]["agreement"];
    let pairs = agreement["pairs"].as_u64().filter(|pairs| *pairs > 0)?;
    let interval = &agreement["interval95"];
    Some(format!(
        "{} agrees with {} on {} of {pairs} ids that both answered: {}, between {} and {} with 95 % confidence",
        variant["name"].as_str()?,
        agreement["with"].as_str().unwrap_or("the first"),
        count(&agreement["agreed"]),
        percent(&agreement["share"]),
        percent(&interval[0]),
        percent(&interval[1]),
    ))
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn percent(share: &Value) -> String {
    share
        .as_f64()
        .map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}
