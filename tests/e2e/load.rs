//! `throughline load` against a real system: what it sends, what it counts, and what it never hides.

use std::net::TcpListener;

use anyhow::Result;
use harness::{eventually, signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::system::{Routed, System, feature_store_at, path, start};

/// What one load said.
struct Loaded {
    passed: bool,
    result: Value,
    output: String,
}

fn load(gateway: &str, options: &[&str]) -> Result<Loaded> {
    let folder = TempDir::new()?;
    let file = folder.path().join("result.json");
    let args = [
        &["load", "--gateway", gateway, "--output", path(&file)],
        options,
    ]
    .concat();
    let exit = start(&args, &[])?.wait()?;
    let result = std::fs::read_to_string(&file).unwrap_or_default();
    Ok(Loaded {
        passed: exit.success(),
        result: serde_json::from_str(&result).unwrap_or_default(),
        output: exit.output(),
    })
}

impl Loaded {
    fn number(&self, pointer: &str) -> f64 {
        let value = self.result.pointer(pointer).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no {pointer} in {}\n{}", self.result, self.output))
    }
}

#[test]
fn every_arrival_of_every_kind_is_sent_and_answered() -> Result<()> {
    let system = System::start()?;
    let options = [
        "--rate",
        "40",
        "--duration",
        "3s",
        "--mix",
        "hit=3,miss=2,batch=1,unknown=1,missing=1,shifted=1",
        "--users",
        "5",
    ];
    let loaded = load(&system.urls.gateway, &options)?;
    assert!(loaded.passed, "{}", loaded.output);
    let result = &loaded.result;
    assert_eq!(
        (&result["requests"], &result["failed"]),
        (&json!(120), &json!(0)),
        "{result}"
    );
    let kinds: Vec<&str> = result["kinds"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|kind| kind["kind"].as_str())
        .collect();
    assert_eq!(
        kinds,
        ["hit", "miss", "batch", "unknown", "missing", "shifted"]
    );
    let outcomes = result["outcomes"].as_object().expect("counts");
    let names: Vec<&str> = outcomes.keys().map(String::as_str).collect();
    assert_eq!(names, ["200", "404"], "{result}");
    assert!(
        loaded.output.contains("corrects for coordinated omission"),
        "{}",
        loaded.output
    );
    // The model service sees the missing and the shifted inputs.
    eventually("missing values and values out of range are counted", || {
        let metrics = system.metrics()?;
        let counted = ["ml.input.missing", "ml.input.out_of_range"]
            .iter()
            .all(|name| metrics.contains_key(*name));
        Ok(counted.then_some(()))
    })
}

#[test]
fn a_slow_system_gets_no_less_load_and_its_queue_is_in_the_latency() -> Result<()> {
    let system = System::start()?;
    // 50 arrivals a second for one connection that serves 20: an open loop falls behind.
    let options = [
        "--rate",
        "50",
        "--duration",
        "2s",
        "--mix",
        "unknown",
        "--fault",
        "gateway:latency:50",
        "--fault-share",
        "1",
        "--max-in-flight",
        "1",
        "--timeout",
        "1s",
    ];
    let loaded = load(&system.urls.gateway, &options)?;
    // At most 20 a second in three seconds; the rest could not be sent, which is no success.
    assert!(!loaded.passed, "{}", loaded.output);
    assert!((loaded.number("/requests") - 100.0).abs() < 0.5);
    let unsent = loaded.number("/outcomes/not sent");
    assert!((40.0..100.0).contains(&unsent), "{}", loaded.output);
    assert!(
        (loaded.number("/failed") - unsent).abs() < 0.5,
        "{}",
        loaded.output
    );
    assert!(loaded.number("/late/requests") > 10.0, "{}", loaded.output);
    assert!(loaded.number("/late/max_in_flight_reached") > 10.0);
    // The last one that was sent had waited for more than a second.
    let (corrected, plain) = (
        loaded.number("/latency_ms/p95"),
        loaded.number("/from_sending_ms/p50"),
    );
    assert!(
        corrected > 500.0 && corrected > 2.0 * plain,
        "{}",
        loaded.output
    );
    Ok(())
}

#[test]
fn failures_are_counted_by_their_kind() -> Result<()> {
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?);
    let short = ["--rate", "20", "--duration", "1s", "--mix", "miss"];
    let loaded = load(&closed, &short)?;
    assert!(!loaded.passed);
    assert_eq!(
        loaded.result["failures"],
        json!({"connection refused": 20}),
        "{}",
        loaded.output
    );
    assert!(
        loaded.output.contains("20 of 20 requests failed"),
        "{}",
        loaded.output
    );
    let tolerant = load(&closed, &[&short[..], &["--max-failed", "20"]].concat())?;
    assert!(tolerant.passed, "{}", tolerant.output);

    // A fault is expected, so it is counted apart.
    let system = System::start()?;
    let faulty = ["--fault", "gateway:drop", "--fault-share", "0.5"];
    let loaded = load(&system.urls.gateway, &[&short[..], &faulty].concat())?;
    assert!(loaded.passed, "{}", loaded.output);
    let dropped = loaded.number("/outcomes/connection reset");
    assert!(dropped > 0.0 && dropped < 20.0, "{}", loaded.output);
    assert!((loaded.number("/faulty/not_successful") - dropped).abs() < 0.5);

    let without = load(&system.urls.gateway, &["--mix", "text=1,hit=1"])?;
    assert!(
        !without.passed && without.output.contains("text_sentiment"),
        "{}",
        without.output
    );
    Ok(())
}

#[test]
fn accepted_writes_are_read_back() -> Result<()> {
    let system = System::start()?;
    let options = [
        "--rate",
        "30",
        "--duration",
        "2s",
        "--mix",
        "write",
        "--feature-store",
        &system.urls.feature_store,
    ];
    let loaded = load(&system.urls.gateway, &options)?;
    assert!(loaded.passed, "{}", loaded.output);
    let writes = &loaded.result["writes"];
    assert_eq!(
        writes,
        &json!({"features_accepted": 60, "predictions_accepted": 60, "lost": 0, "lost_ids": [], "unread": 0}),
        "{}",
        loaded.output
    );
    // Each write is a push and the prediction that follows it.
    assert!((loaded.number("/requests") - 120.0).abs() < 0.5);
    Ok(())
}

#[test]
fn writes_of_every_variant_are_read_back() -> Result<()> {
    let routed = Routed::start(&[])?;
    routed.route(50, "weight = 50", false)?;
    let urls = &routed.system.urls;
    let options = [
        "--rate",
        "30",
        "--duration",
        "2s",
        "--mix",
        "write",
        // The variant is chosen for the user, who does not read back.
        "--users",
        "20",
        "--feature-store",
        &urls.feature_store,
    ];
    let loaded = load(&urls.gateway, &options)?;
    assert!(loaded.passed, "{}", loaded.output);
    assert!((loaded.number("/writes/predictions_accepted") - 60.0).abs() < 0.5);
    Ok(())
}

#[test]
fn writes_that_vanish_are_found() -> Result<()> {
    // A gateway whose predictions are gone after a second: they expire.
    let system = System::start_with(&[("PREDICTION_TTL", "1s")])?;
    let options = [
        "--rate",
        "10",
        "--duration",
        "3s",
        "--mix",
        "write",
        "--feature-store",
        &system.urls.feature_store,
    ];
    let loaded = load(&system.urls.gateway, &options)?;
    assert!(!loaded.passed);
    let lost = loaded.number("/writes/lost");
    assert!((10.0..=30.0).contains(&lost), "{}", loaded.output);
    assert!(
        loaded.output.contains("accepted writes are lost"),
        "{}",
        loaded.output
    );
    Ok(())
}

#[test]
fn no_accepted_write_is_lost_when_the_feature_store_is_killed_under_load() -> Result<()> {
    let mut system = System::start()?;
    let (gateway, url) = (
        system.urls.gateway.clone(),
        system.urls.feature_store.clone(),
    );
    let address = url.strip_prefix("http://").expect("an address").to_owned();
    let running = std::thread::spawn(move || {
        let options = [
            "--rate",
            "40",
            "--duration",
            "8s",
            "--verify-writes",
            "--mix",
            "miss=1,write=3",
            "--feature-store",
            &url,
            "--max-failed",
            "1000",
        ];
        load(&gateway, &options)
    });
    let traces = |query: &str, root: &str| {
        let url = format!("{}/api/traces?{query}", system.urls.explorer);
        eventually(root, || {
            let traces = system.get(&url)?.body["traces"].take();
            let mut traces = traces.as_array().into_iter().flatten();
            Ok(traces.any(|trace| trace["root_name"] == root).then_some(()))
        })
    };
    traces("service=feature-store", "POST /push")?;
    signal(
        "KILL",
        system.feature_store.as_ref().expect("it runs").pid(),
    )?;
    // It is missed before it comes back.
    traces("status=error", "POST /v1/predictions")?;
    let variables = [("OTEL_SDK_DISABLED", "true")];
    system.feature_store = Some(feature_store_at(&address, &system.data, &variables)?);

    let loaded = running.join().expect("the load ends")?;
    assert!(loaded.passed, "{}", loaded.output);
    let (lost, unread) = (
        loaded.number("/writes/lost"),
        loaded.number("/writes/unread"),
    );
    assert!(lost + unread < 0.5, "{}", loaded.output);
    // It was down for a part of the load only, and what it refused meanwhile was counted.
    let accepted = loaded.number("/writes/features_accepted");
    assert!(
        accepted > 10.0 && accepted < loaded.number("/requests"),
        "{}",
        loaded.output
    );
    assert!(loaded.number("/failed") > 0.0, "{}", loaded.output);
    Ok(())
}
