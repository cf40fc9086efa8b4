//! `throughline variants`: how the variants of each model do, side by side.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::Value;
use telemetry::client::HttpClient;

use crate::cli::VariantsOptions;
use crate::screen;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Columns and their headings; the first is as wide as the longest usual name.
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

/// Prints what the gateway says of its models.
pub(crate) fn main(options: &VariantsOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(read(&options.gateway))?;
    let models = answer["models"]
        .as_array()
        .context("the gateway's answer is no list of models")?;
    let wanted = |model: &&Value| {
        options
            .model
            .as_deref()
            .is_none_or(|name| model["name"] == name)
    };
    let mut shown = models.iter().filter(wanted).peekable();
    if shown.peek().is_none() {
        bail!(
            "the gateway knows no {}",
            options
                .model
                .as_deref()
                .map_or("model".to_owned(), |name| format!("model {name}"))
        );
    }
    for model in shown {
        screen::say(tell(model));
    }
    Ok(())
}

async fn read(gateway: &str) -> anyhow::Result<Value> {
    let url = format!("{}/v1/models", gateway.trim_end_matches('/'));
    let request = Request::get(&url).body(Bytes::new())?;
    let answer = HttpClient::new()?.send(request, TIMEOUT).await.with_context(|| {
        format!(
            "the gateway does not answer at {gateway}; start it with `throughline up`, or name another with --gateway"
        )
    })?;
    if answer.status() != StatusCode::OK {
        bail!(
            "the gateway answers {} to {url}: {}",
            answer.status(),
            String::from_utf8_lossy(answer.body())
        );
    }
    serde_json::from_slice(answer.body()).context("the gateway's answer is no JSON")
}

/// One model as a table.
fn tell(model: &Value) -> String {
    let variants = model["variants"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let rows: Vec<_> = variants.iter().map(row).collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
            .max(HEADINGS[column].len())
    };
    let line = |cells: &[String]| {
        let cells = cells
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        format!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut text = screen::paint("1", model["name"].as_str().unwrap_or("?"));
    for line in [line(&HEADINGS.map(str::to_owned))]
        .into_iter()
        .chain(rows.iter().map(|row| line(row)))
    {
        text = format!("{text}\n{line}");
    }
    for variant in variants {
        for sentence in [labels(variant), agreement(variant)].into_iter().flatten() {
            text = format!("{text}\n  {sentence}");
        }
    }
    text
}

fn row(variant: &Value) -> [String; HEADINGS.len()] {
    let (text, statistics) = (
        |key: &str| variant[key].as_str().unwrap_or("-").to_owned(),
        &variant["statistics"],
    );
    let (calls, errors) = (count(&statistics["calls"]), count(&statistics["errors"]));
    let latency = [
        &statistics["latency_seconds"]["p50"],
        &statistics["latency_seconds"]["p95"],
    ];
    let latency = latency.map(|seconds| {
        seconds
            .as_f64()
            .map_or("-".to_owned(), |seconds| format!("{:.1}", seconds * 1e3))
    });
    [
        text("name"),
        text("mode"),
        variant["weight"]
            .as_u64()
            .map_or("-".to_owned(), |weight| weight.to_string()),
        text("version"),
        text("health"),
        calls.to_string(),
        if calls == 0 {
            "-".to_owned()
        } else {
            format!("{errors} ({:.1} %)", errors as f64 * 100.0 / calls as f64)
        },
        latency.join(" / "),
        statistics["confidence_mean"]
            .as_f64()
            .map_or("-".to_owned(), |mean| format!("{mean:.3}")),
    ]
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
