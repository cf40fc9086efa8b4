//! `throughline bench`: speed, CPU time and memory of the whole system, with telemetry on and off.
//!
//! Two systems run side by side, one fully traced and one with `OTEL_SDK_DISABLED=true`. They are
//! measured in turn, so that a drift of the machine's speed affects both. Quote the ratios:
//! absolute times depend on the machine. With `--batches`, the two differ in whether the model service
//! computes waiting requests together.

mod batches;
mod load;
mod resources;
mod table;

use std::path::Path;

use anyhow::{Context, anyhow};
use explorer::MetricSeries;
use tokio::sync::mpsc;

use crate::cli::{BenchArgs, EncoderArgs, UpArgs, WorkerArgs};
use crate::explorer_client::ExplorerClient;
use crate::screen;
use crate::up::LocalSystem;
use load::Workload;
use table::BenchReport;

/// Runs all measurements and prints them as Markdown.
pub(crate) fn main(args: &BenchArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let folder = std::env::temp_dir().join(format!("throughline-bench-{}", std::process::id()));
    let outcome = runtime.block_on(async {
        if args.batches {
            batches::measure(args, &folder).await
        } else {
            measure(args, &folder).await
        }
    });
    // What cannot be removed does no harm in the temporary folder.
    let _ = std::fs::remove_dir_all(&folder);
    screen::say(outcome?);
    Ok(())
}

async fn measure(args: &BenchArgs, folder: &Path) -> anyhow::Result<String> {
    let (deaths, mut dead) = mpsc::unbounded_channel();
    let mut traced = LocalSystem::new(&on_free_ports(folder, "traced", args), deaths.clone())?;
    let mut plain = LocalSystem::new(&on_free_ports(folder, "plain", args), deaths)?;
    plain.set_env("OTEL_SDK_DISABLED", "true");
    let outcome = tokio::select! {
        biased;
        Some(death) = dead.recv() => Err(anyhow!(death)),
        outcome = compare(&mut traced, &mut plain, args) => outcome,
    };
    traced.stop().await;
    plain.stop().await;
    Ok(outcome?.to_string())
}

async fn compare(
    traced: &mut LocalSystem,
    plain: &mut LocalSystem,
    args: &BenchArgs,
) -> anyhow::Result<BenchReport> {
    traced.start().await?;
    plain.start().await?;
    let mut report = BenchReport::new(args);
    for workload in [Workload::Hit, Workload::Miss] {
        for round in 0..=args.rounds {
            for (telemetry, system) in [("on", &*traced), ("off", &*plain)] {
                let measurement = load::run(system, workload, args).await?;
                // The first round warms caches and pools, and does not count.
                if round > 0 {
                    report.add(workload, telemetry, measurement);
                }
            }
        }
    }
    report.memory("on", resources::of(traced));
    report.memory("off", resources::of(plain));
    report.lost = lost_spans(traced).await?;
    Ok(report)
}

fn on_free_ports(folder: &Path, name: &str, args: &BenchArgs) -> UpArgs {
    UpArgs {
        once: false,
        data_dir: folder.join(name),
        otlp_endpoint: None,
        prediction_store: args.prediction_store.clone(),
        feature_store_database: None,
        gateway_port: 0,
        model_service_port: 0,
        feature_store_port: 0,
        explorer_port: 0,
        otlp_port: 0,
        rules: None,
        routes: None,
        worker: WorkerArgs {
            python: false,
            no_python: true,
            python_environment: None,
            python_port: 0,
        },
        encoder: EncoderArgs {
            no_encoder: true,
            encoder: None,
            encoder_port: 0,
        },
        no_faults: true,
    }
}

/// Spans that a queue dropped or an export lost, as the services count them.
async fn lost_spans(system: &LocalSystem) -> anyhow::Result<u64> {
    let url = system
        .explorer()
        .context("the traced system has no explorer")?;
    let explorer = ExplorerClient::new(url)?;
    let mut lost = 0;
    for metric in [
        "otel.sdk.processor.span.processed",
        "otel.sdk.exporter.span.exported",
    ] {
        let series = explorer.metric(metric).await?;
        lost += series.iter().map(failed).sum::<u64>();
    }
    Ok(lost)
}

/// The value of a series that counts failures; 0 for others.
fn failed(series: &MetricSeries) -> u64 {
    if series.attributes.contains_key("error.type") {
        series.value.as_f64().unwrap_or_default() as u64
    } else {
        0
    }
}
