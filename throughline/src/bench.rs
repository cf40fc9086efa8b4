//! `throughline bench`: speed, CPU time and memory of the whole system, with telemetry on and off in turn.
//!
//! Two systems run side by side, one with full tracing and one with `OTEL_SDK_DISABLED=true`, and are measured
//! alternately, so that a machine whose speed drifts is the same for both. Absolute times are those of the machine that
//! ran them; the ratios are what to quote.

mod load;
mod resources;
mod table;

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use crate::cli::{BenchOptions, UpOptions, WorkerOptions};
use crate::explorer_api::Explorer;
use crate::screen;
use crate::up::System;
use load::{Measurement, Path as Way};
use table::Report;

/// Runs all measurements and prints them as Markdown.
pub(crate) fn main(options: &BenchOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let folder = std::env::temp_dir().join(format!("throughline-bench-{}", std::process::id()));
    let outcome = runtime.block_on(measure(options, &folder));
    // The folder holds only what this run made; what cannot be removed does no harm in the temporary folder.
    let _ = std::fs::remove_dir_all(&folder);
    screen::say(outcome?);
    Ok(())
}

async fn measure(options: &BenchOptions, folder: &Path) -> anyhow::Result<String> {
    let mut traced = System::new(&on_free_ports(folder, "traced", options))?;
    let mut plain = System::new(&on_free_ports(folder, "plain", options))?
        .with_env([("OTEL_SDK_DISABLED", "true".to_owned())]);
    let outcome = async {
        traced.start().await?;
        plain.start().await?;
        let mut report = Report::new(options);
        for way in [Way::Hit, Way::Miss] {
            for round in 0..=options.rounds {
                for (name, system) in [("on", &traced), ("off", &plain)] {
                    let measurement = load::run(system, way, options).await?;
                    // The first round warms caches, pools and the branch predictors; it does not count.
                    if round > 0 {
                        report.add(way, name, measurement);
                    }
                }
            }
        }
        report.memory("on", resources::of(&traced));
        report.memory("off", resources::of(&plain));
        report.lost = lost_spans(&traced).await?;
        Ok(report.to_string())
    }
    .await;
    traced.stop().await;
    plain.stop().await;
    outcome
}

fn on_free_ports(folder: &Path, name: &str, options: &BenchOptions) -> UpOptions {
    UpOptions {
        once: false,
        data_dir: folder.join(name),
        otlp_endpoint: None,
        prediction_store: options.prediction_store.clone(),
        feature_store_database: None,
        gateway_port: 0,
        model_service_port: 0,
        feature_store_port: 0,
        explorer_port: 0,
        otlp_port: 0,
        routes: None,
        worker: WorkerOptions {
            python: false,
            no_python: true,
            python_environment: None,
            python_port: 0,
        },
        no_faults: true,
    }
}

/// Spans that were dropped by a queue or lost by an export, as the services count them themselves.
async fn lost_spans(system: &System) -> anyhow::Result<u64> {
    let explorer = Explorer::new(
        system
            .explorer()
            .context("the traced system has an explorer")?,
    )?;
    let mut lost = 0;
    for metric in [
        "otel.sdk.processor.span.processed",
        "otel.sdk.exporter.span.exported",
    ] {
        let found = explorer
            .read(&format!("/api/metrics?name={metric}"))
            .await?;
        lost += points(&found)
            .filter(|point| point["attributes"].get("error.type").is_some())
            .map(value)
            .sum::<u64>();
    }
    Ok(lost)
}

fn points(metrics: &Value) -> impl Iterator<Item = &Value> {
    metrics["series"].as_array().into_iter().flatten()
}

fn value(point: &Value) -> u64 {
    point["value"].as_f64().unwrap_or_default() as u64
}

/// The middle of several measurements by one of their figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn median_of(measurements: &[Measurement], figure: impl Fn(&Measurement) -> f64) -> f64 {
    median(measurements.iter().map(figure).collect())
}
