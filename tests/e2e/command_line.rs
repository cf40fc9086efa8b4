//! The command `throughline`: the whole system, its sample, its errors, its stop.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::{Process, eventually, signal};
use tempfile::TempDir;

use crate::system::{path, start, up};

/// The pids that `up` has printed, once all three services have one.
fn pids(up: &Process) -> Result<Vec<u32>> {
    ["gateway", "model-service", "feature-store"]
        .into_iter()
        .map(|name| pid(up, name))
        .collect()
}

fn pid(up: &Process, name: &str) -> Result<u32> {
    up.wait_line(name, |line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name))
            .then(|| words.last()?.parse().ok())
            .flatten()
    })
}

fn addresses(up: &Process) -> Result<()> {
    up.wait_line("the addresses", |line| {
        line.starts_with("Try:").then_some(())
    })
}

fn gone(pid: u32) -> Option<()> {
    // A zombie has ended, too: its parent is gone, and in a container nothing reaps it.
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let dead = state.is_empty()
        || state
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'));
    dead.then_some(())
}

#[test]
fn variables_that_leave_out_traces_do_not_fail_the_sample() -> Result<()> {
    for (variable, said) in [
        (("OTEL_SDK_DISABLED", "true"), "without a trace"),
        (("OTEL_TRACES_SAMPLER", "always_off"), "may not be recorded"),
        (("OTEL_TRACES_EXPORTER", "none"), "may not be recorded"),
    ] {
        let data = TempDir::new()?;
        let mut system = up(data.path(), &["--once"], &[variable])?;
        let status = system.wait()?;
        let output = system.output();
        assert!(
            status.success() && output.contains(said),
            "{variable:?}:\n{output}"
        );
    }
    Ok(())
}

#[test]
fn once_shows_a_miss_and_a_hit_and_exits_well() -> Result<()> {
    let data = TempDir::new()?;
    for start in ["first", "second"] {
        let mut system = up(data.path(), &["--once"], &[])?;
        let status = system.wait()?;
        let said = system.output();
        assert!(status.success(), "{start} start:\n{said}");
        for expected in [
            "A miss: computed by the model",
            "A hit: from the prediction store",
            "predict wine_quality",
            "layer linear_3",
            "SELECT wine_features",
            "INSERT predictions",
            "A text: computed by the model",
            "predict text_sentiment",
            "layer embedding_bag",
        ] {
            assert!(
                said.contains(expected),
                "{start} start says nothing of {expected}:\n{said}"
            );
        }
        let pids = pids(&system)?;
        assert!(
            pids[0] != pids[1] && pids[1] != pids[2],
            "parts share a process: {pids:?}"
        );
    }
    for model in ["wine_quality", "text_sentiment"] {
        let versions = std::fs::read_dir(data.path().join("models").join(model))?.count();
        assert_eq!(versions, 1, "the second start must not train {model} again");
    }
    Ok(())
}

#[test]
fn a_second_system_on_the_same_folder_is_refused() -> Result<()> {
    let data = TempDir::new()?;
    let first = up(data.path(), &[], &[])?;
    addresses(&first)?;
    let mut second = up(data.path(), &[], &[])?;
    assert!(!second.wait()?.success());
    let said = second.output();
    assert!(
        said.contains(&format!("pid {}", first.pid())) && said.contains("--data-dir"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_port_in_use_is_named_with_its_flag() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let data = TempDir::new()?;
    let mut system = up(data.path(), &["--gateway-port", &port], &[])?;
    assert!(!system.wait()?.success());
    let said = system.output();
    assert!(
        said.contains(&port) && said.contains("--gateway-port"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_dead_collector_changes_no_answer_and_holds_no_exit() -> Result<()> {
    let data = TempDir::new()?;
    // A port that was just free: it refuses connections.
    let dead = format!("http://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?);
    let mut system = up(data.path(), &["--otlp-endpoint", &dead], &[])?;
    addresses(&system)?;
    let said = system.output();
    assert!(said.contains("A hit: from the prediction store"), "{said}");
    system.signal("INT")?;
    let start = Instant::now();
    let status = system.wait()?;
    // The only test of a duration: Ctrl-C promises this one.
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "the exit took {:?}",
        start.elapsed()
    );
    assert!(status.success(), "{}", system.output());
    Ok(())
}

#[test]
fn telemetry_goes_to_the_endpoint_that_is_named() -> Result<()> {
    let listen = [
        "explorer",
        "--listen",
        "127.0.0.1:0",
        "--otlp-listen",
        "127.0.0.1:0",
        "--exit-with-parent",
    ];
    let elsewhere = start(&listen, &[])?;
    let (page, otlp) = (
        elsewhere.url("server.listening")?,
        elsewhere.url("explorer.otlp_listening")?,
    );
    let data = TempDir::new()?;
    let mut system = up(data.path(), &["--once", "--otlp-endpoint", &otlp], &[])?;
    assert!(system.wait()?.success(), "{}", system.output());
    let said = system.output();
    let trace_id = said
        .split_once("its trace ")
        .context("the sample names its trace")?
        .1[..32]
        .to_owned();
    let mut list = start(&["trace", &trace_id, "--explorer", &page], &[])?;
    assert!(list.wait()?.success(), "{}", list.output());
    assert!(
        list.output().contains("layer linear_3"),
        "{}",
        list.output()
    );
    Ok(())
}

#[test]
fn ctrl_c_stops_every_part_and_loses_nothing() -> Result<()> {
    let data = TempDir::new()?;
    let mut system = up(data.path(), &[], &[])?;
    addresses(&system)?;
    let pids = pids(&system)?;
    system.signal("INT")?;
    let status = system.wait()?;
    let said = system.output();
    assert!(status.success(), "{said}");
    assert!(!said.contains("telemetry was lost"), "{said}");
    for pid in pids {
        eventually("the part has ended", || Ok(gone(pid)))?;
    }
    Ok(())
}

#[test]
fn parts_die_with_a_killed_launcher() -> Result<()> {
    let data = TempDir::new()?;
    let system = up(data.path(), &[], &[])?;
    addresses(&system)?;
    let pids = pids(&system)?;
    system.kill()?;
    for pid in pids {
        eventually("the part has ended", || Ok(gone(pid)))?;
    }
    Ok(())
}

#[test]
fn a_part_that_dies_is_reported_with_its_last_lines() -> Result<()> {
    let data = TempDir::new()?;
    let mut system = up(data.path(), &[], &[])?;
    addresses(&system)?;
    signal("KILL", pid(&system, "model-service")?)?;
    let status = system.wait()?;
    let said = system.output();
    assert!(!status.success());
    assert!(
        said.contains("model-service died") && said.contains("model-service listens on"),
        "{said}"
    );
    Ok(())
}

#[test]
#[ignore = "needs a server: set THROUGHLINE_TEST_REDIS_URL, as .ci/components/with does"]
fn features_in_redis_are_loaded_once_and_read_in_the_trace() -> Result<()> {
    let redis = std::env::var("THROUGHLINE_TEST_REDIS_URL")
        .context("THROUGHLINE_TEST_REDIS_URL is not set")?;
    let data = TempDir::new()?;
    for (start, loads) in [("first", true), ("second", false)] {
        let prefix = format!("e2e-{}:", std::process::id());
        let env = [
            ("FEATURE_STORE_DATABASE", redis.as_str()),
            ("REDIS_KEY_PREFIX", prefix.as_str()),
        ];
        let mut system = up(data.path(), &["--once"], &env)?;
        let status = system.wait()?;
        let said = system.output();
        assert!(status.success(), "{start} start:\n{said}");
        assert!(
            said.contains("HMGET wine_features"),
            "{start} start:\n{said}"
        );
        assert_eq!(
            said.contains("1599 rows written"),
            loads,
            "{start} start:\n{said}"
        );
    }
    assert!(
        !data.path().join("features.db").exists(),
        "the features are in Redis only"
    );
    Ok(())
}

#[test]
fn training_prints_its_accuracy_beside_the_baseline() -> Result<()> {
    let data = TempDir::new()?;
    let repository = data.path().join("models");
    let args = [
        "train",
        "wine_quality",
        "--model-repository",
        path(&repository),
        "--seed",
        "7",
    ];
    let mut training = start(&args, &[("OTEL_SDK_DISABLED", "true")])?;
    let status = training.wait()?;
    let said = training.output();
    assert!(status.success(), "{said}");
    let number = |after: &str| -> Result<f64> {
        let text = said
            .split_once(after)
            .with_context(|| format!("no {after:?} in {said}"))?
            .1;
        Ok(text
            .trim_start()
            .split([' ', ')', ','])
            .next()
            .unwrap_or_default()
            .parse()?)
    };
    let (accuracy, baseline) = (number("validation accuracy")?, number("majority baseline")?);
    assert!(accuracy >= 0.72 && accuracy > baseline + 0.1, "{said}");
    assert!(
        repository.join("wine_quality/1/manifest.json").is_file()
            && repository
                .join("wine_quality/1/model.safetensors")
                .is_file()
    );
    Ok(())
}

#[test]
fn a_training_of_several_models_trains_what_is_missing() -> Result<()> {
    let data = TempDir::new()?;
    let repository = path(data.path());
    let train = |models: &[&str], options: &[&str]| {
        let place = ["--model-repository", repository];
        let args = [&["train"], models, &place, options].concat();
        start(&args, &[("OTEL_SDK_DISABLED", "true")])?.wait()
    };
    let both = ["wine_quality", "text_sentiment"];
    assert!(train(&["wine_quality"], &[])?.success());
    let rest = train(&both, &["--if-missing"])?;
    assert!(rest.success(), "{}", rest.output());
    for said in [
        "the repository has a version of wine_quality already",
        "text_sentiment version 1",
    ] {
        assert!(rest.output().contains(said), "{}", rest.output());
    }
    assert!(!data.path().join("wine_quality/2").exists());

    let file = data.path().join("winequality-red.csv");
    let refused = train(&both, &["--data", path(&file)])?;
    assert!(!refused.success());
    let reason = "--data is the data set of one model: train text_sentiment by itself";
    assert!(refused.output().contains(reason), "{}", refused.output());
    Ok(())
}
