//! `throughline train --workers`: real groups of processes on JAX, their one trace, and the model
//! that Candle serves.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use explorer::trace::SpanData;
use harness::{Collector, Exit, Process, Trace, eventually, signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::system::{environment_with_jax, path, start};

/// The most by which a weight or a probability may differ between the trainers. Each adds in another
/// order; what was seen is 2e-6.
const TOLERANCE: f32 = 1e-4;

/// Steps of an epoch: 1,280 rows in mini batches of 32.
const STEPS: f64 = 40.0;

fn train(data: &Path, collector: &Collector, more: &[&str]) -> Result<Process> {
    let args = [
        "train",
        "wine_quality",
        "--progress",
        "plain",
        "--data-dir",
        path(data),
    ];
    let python = environment_with_jax().map(|folder| ["--python-environment", path(folder)]);
    let python = python.as_ref().map_or(&[][..], |python| &python[..]);
    let endpoint = collector.endpoint();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("TRACEPARENT", CALLER),
        ("BAGGAGE", "user.id=7"),
    ];
    start(&[&args, more, python].concat(), &variables)
}

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Whether there is no Python that JAX runs on; that of the README's table of needs is enough for the
/// other tests.
fn is_skipped() -> bool {
    let is_skipped = environment_with_jax().is_none();
    if is_skipped {
        let _ = writeln!(std::io::stderr(), "SKIPPED: JAX needs Python 3.11 or newer");
    }
    is_skipped
}

fn success(mut training: Process) -> Result<Exit> {
    let exit = training.wait()?;
    ensure!(exit.success(), "{}", exit.output());
    Ok(exit)
}

/// The numbers of a safetensors file; files of one architecture have the same header.
fn weights(version: &Path) -> Result<(String, Vec<f32>)> {
    let bytes = std::fs::read(version.join("model.safetensors"))?;
    let (length, rest) = bytes.split_first_chunk().context("8 bytes")?;
    let (header, values) = rest.split_at(usize::try_from(u64::from_le_bytes(*length))?);
    let (values, _) = values.as_chunks();
    let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes));
    Ok((String::from_utf8(header.to_vec())?, values.collect()))
}

fn manifest(version: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(
        version.join("manifest.json"),
    )?)?)
}

fn distance(one: &[f32], other: &[f32]) -> f32 {
    let pairs = one.iter().zip(other);
    pairs.fold(0.0, |most: f32, (one, other)| most.max((one - other).abs()))
}

/// Probabilities of all wines by the version, from the model service that serves Candle models.
fn served(models: &Path, version: &str) -> Result<Vec<f32>> {
    let args = ["model-service", "--listen", "127.0.0.1:0"];
    let repository = ["--model-repository", path(models), "--exit-with-parent"];
    let service = start(
        &[&args[..], &repository].concat(),
        &[("OTEL_SDK_DISABLED", "true")],
    )?;
    let url = service.url("server.listening")?;
    let csv =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/wine_quality/winequality-red.csv");
    let text = std::fs::read_to_string(csv)?;
    let rows = text.lines().skip(1).take(500).map(|line| {
        let fields = line.split(',').skip(1).take(11);
        fields.map(str::parse::<f32>).collect::<Result<Vec<_>, _>>()
    });
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let input = json!({"name": "features", "shape": [rows.len(), 11], "datatype": "FP32", "data": rows.concat()});
    let url = format!("{url}/v2/models/wine_quality/versions/{version}/infer");
    let answer = eventually("the version is ready", || {
        let body = json!({"inputs": [input]}).to_string();
        let kind = [("content-type", "application/json")];
        let answer = harness::send("POST", &url, &kind, body.as_bytes())?;
        Ok((answer.status == 200).then_some(answer))
    })?
    .json();
    let outputs = answer["outputs"].as_array().context("outputs")?;
    let found = outputs
        .iter()
        .find(|output| output["name"] == "probabilities");
    let data = found.context("probabilities")?["data"]
        .as_array()
        .context("data")?;
    let numbers = data.iter().filter_map(Value::as_f64);
    Ok(numbers.map(|number| number as f32).collect())
}

#[test]
fn one_process_two_processes_and_rust_learn_the_same_and_candle_serves_it() -> Result<()> {
    if is_skipped() {
        return Ok(());
    }
    let (folder, collector) = (TempDir::new()?, Collector::start());
    success(train(folder.path(), &collector, &[])?)?;
    success(train(folder.path(), &collector, &["--workers", "1"])?)?;
    success(train(folder.path(), &collector, &["--workers", "2"])?)?;
    let models = folder.path().join("models");
    let version = |number: &str| models.join("wine_quality").join(number);
    let (header, by_rust) = weights(&version("1"))?;
    let of_rust = manifest(&version("1"))?;
    let answers = served(&models, "1")?;
    assert_eq!(answers.len(), 1000);
    for (number, ranks) in [("2", 1), ("3", 2)] {
        let (same, found) = weights(&version(number))?;
        assert_eq!(same, header);
        let apart = distance(&by_rust, &found);
        assert!(apart < TOLERANCE, "{ranks} ranks: {apart}");
        let found = manifest(&version(number))?;
        assert_eq!(found["training"]["ranks"], ranks);
        for same in [
            "dataset",
            "features",
            "normalisation",
            "classes",
            "hyperparameters",
            "seed",
            "framework",
            "metrics",
        ] {
            assert_eq!(found[same], of_rust[same], "{ranks} ranks: {same}");
        }
        let apart = distance(&answers, &served(&models, number)?);
        assert!(apart < TOLERANCE, "{ranks} ranks: {apart}");
    }
    Ok(())
}

fn number(span: &SpanData, name: &str) -> f64 {
    let text = span.text(name).unwrap_or_default();
    text.parse().unwrap_or(f64::NAN)
}

fn of_rank<'a>(trace: &'a Trace, name: &str, rank: &str) -> Vec<&'a SpanData> {
    let spans = trace.spans.iter().filter(|span| span.name == name);
    let spans = spans.filter(|span| span.text("ml.training.rank").as_deref() == Some(rank));
    spans.collect()
}

#[test]
fn a_straggler_is_seen_in_the_one_trace() -> Result<()> {
    if is_skipped() {
        return Ok(());
    }
    let (folder, collector) = (TempDir::new()?, Collector::start());
    let slow = ["--workers", "2", "--epochs", "2", "--slow-rank", "1=50"];
    success(train(folder.path(), &collector, &slow)?)?;
    let trace = whole(&collector, 2)?;
    let mut lines: Vec<String> = harness::tree(&trace).lines().map(str::to_owned).collect();
    lines.dedup();
    let expected = [
        "train wine_quality INTERNAL",
        "  load_data INTERNAL",
        "  train_model INTERNAL",
        "    rank INTERNAL",
        "      epoch INTERNAL",
        "    rank INTERNAL",
        "      epoch INTERNAL",
        "  evaluate_model INTERNAL",
        "  save_model INTERNAL",
    ];
    assert_eq!(lines, expected, "{}", harness::tree(&trace));
    let asleep = STEPS * 0.05;
    let [fast, slow] = ["0", "1"].map(|rank| of_rank(&trace, "rank", rank)[0]);
    let computed = number(slow, "ml.training.compute.duration");
    assert!(computed >= 2.0 * asleep, "{computed}");
    let waited = number(fast, "ml.training.all_reduce.duration");
    let less = number(slow, "ml.training.all_reduce.duration");
    assert!(waited > less, "{waited} s, {less} s");
    Ok(())
}

/// The trace of the caller with so many epochs of both ranks. Every process exports on its own
/// schedule.
fn whole(collector: &Collector, epochs: usize) -> Result<Trace> {
    eventually("the epochs of both ranks have arrived", || {
        let trace = collector.arrived(TRACE);
        let all = ["0", "1"].map(|rank| of_rank(&trace, "epoch", rank).len()) == [epochs; 2];
        let root = trace
            .spans
            .iter()
            .any(|span| span.name == "train wine_quality");
        Ok((all && root).then_some(trace))
    })
}

/// The process of a rank, which the training says.
fn process_of(training: &Process, rank: &str) -> Result<u32> {
    let prefix = format!("rank {rank} is process ");
    training.wait_line(&prefix, |line| line.strip_prefix(&prefix)?.parse().ok())
}

#[test]
fn a_killed_rank_ends_the_training_and_its_trace_says_which() -> Result<()> {
    if is_skipped() {
        return Ok(());
    }
    let (folder, collector) = (TempDir::new()?, Collector::start());
    let slow = ["--workers", "2", "--epochs", "10", "--slow-rank", "0=20"];
    let mut training = train(folder.path(), &collector, &slow)?;
    training.wait_line("an epoch", |line| {
        line.starts_with("epoch 1 of").then_some(())
    })?;
    signal("KILL", process_of(&training, "1")?)?;
    let exit = training.wait()?;
    assert!(!exit.success());
    assert!(
        exit.output().contains("rank 1 of 2 ended in epoch"),
        "{}",
        exit.output()
    );
    assert!(exit.output().contains("SIGKILL"), "{}", exit.output());
    let models = folder.path().join("models/wine_quality");
    let left = std::fs::read_dir(models).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing is written");
    let trace = collector.arrived(TRACE);
    let error = |span: &SpanData| span.text("error.type").unwrap_or_default();
    for (name, wanted) in [
        ("train wine_quality", "rank_failed"),
        ("train_model", "rank_failed"),
    ] {
        let span = trace
            .spans
            .iter()
            .find(|span| span.name == name)
            .context(name)?;
        assert!(span.is_error());
        assert_eq!(error(span), wanted);
        assert!(
            format!("{:?}", span.status).contains("rank 1 of 2"),
            "{:?}",
            span.status
        );
    }
    assert_eq!(error(of_rank(&trace, "rank", "1")[0]), "rank_failed");
    assert_eq!(error(of_rank(&trace, "rank", "0")[0]), "rank_lost");
    let lost = of_rank(&trace, "epoch", "0")
        .into_iter()
        .filter(|epoch| epoch.is_error());
    assert_eq!(lost.map(error).collect::<Vec<_>>(), ["rank_lost"]);
    Ok(())
}

#[test]
fn a_frozen_rank_ends_the_training_too() -> Result<()> {
    if is_skipped() {
        return Ok(());
    }
    let (folder, collector) = (TempDir::new()?, Collector::start());
    let slow = [
        "--workers",
        "2",
        "--epochs",
        "10",
        "--slow-rank",
        "0=20",
        "--epoch-timeout",
        "30s",
    ];
    let mut training = train(folder.path(), &collector, &slow)?;
    training.wait_line("an epoch", |line| {
        line.starts_with("epoch 1 of").then_some(())
    })?;
    signal("STOP", process_of(&training, "1")?)?;
    let exit = training.wait()?;
    assert!(!exit.success());
    assert!(
        exit.output().contains("rank 1 of 2 stands still"),
        "{}",
        exit.output()
    );
    let trace = collector.arrived(TRACE);
    assert_eq!(
        of_rank(&trace, "rank", "1")[0]
            .text("error.type")
            .as_deref(),
        Some("rank_stalled")
    );
    Ok(())
}

#[test]
fn without_jax_the_training_says_what_to_run() -> Result<()> {
    let folder = TempDir::new()?;
    let data = ["--data-dir", path(folder.path())];
    for (more, says) in [
        (
            ["wine_quality", "--workers", "2"],
            "python-setup --extra jax",
        ),
        (
            ["text_sentiment", "--workers", "2"],
            "--workers is for wine_quality only",
        ),
    ] {
        let args = [&["train"], &more[..], &data].concat();
        let exit = start(&args, &[("OTEL_SDK_DISABLED", "true")])?.wait()?;
        assert!(!exit.success());
        assert!(exit.output().contains(says), "{}", exit.output());
    }
    Ok(())
}
