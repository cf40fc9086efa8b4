//! `throughline check` against real deployments, whole and broken, in each place where telemetry can
//! be looked for.

mod kibana;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::collector::sending_to;
use crate::components::{Component, deploy_script, elasticsearch};
use crate::system::{System, path, start, up};

/// Longer than the check itself waits, point after point: it says better than a test what is missing.
const LONGEST: Duration = Duration::from_mins(8);

/// What one run of the check said.
struct Checked {
    passed: bool,
    rows: Vec<Value>,
    output: String,
}

fn check(options: &[&str]) -> Result<Checked> {
    let args = [&["check", "--json", "--requests", "3"], options].concat();
    let exit = start(&args, &[])?.wait_within(LONGEST)?;
    let lines = exit
        .lines
        .iter()
        .filter(|line| !line.starts_with("throughline:"));
    let json: String = lines.map(String::as_str).collect();
    let rows = serde_json::from_str(&json).with_context(|| exit.output())?;
    Ok(Checked {
        passed: exit.success(),
        rows,
        output: exit.output(),
    })
}

/// The same of a system, with its explorer as the place to look.
fn check_system(system: &System, options: &[&str]) -> Result<Checked> {
    let urls = &system.urls;
    let place = ["--gateway", &urls.gateway, "--explorer", &urls.explorer];
    check(&[&place, options].concat())
}

impl Checked {
    /// The outcomes of a point, by its subjects.
    fn outcomes(&self, check: &str) -> BTreeMap<&str, &str> {
        let rows = self.rows.iter().filter(|row| row["check"] == check);
        rows.map(|row| {
            (
                row["subject"].as_str().unwrap_or_default(),
                row["outcome"].as_str().unwrap_or_default(),
            )
        })
        .collect()
    }

    #[track_caller]
    fn all(&self, check: &str, outcome: &str) {
        let outcomes = self.outcomes(check);
        assert!(
            !outcomes.is_empty() && outcomes.values().all(|found| *found == outcome),
            "{check} should be {outcome}:\n{}",
            self.output
        );
    }

    /// Failed points; each says what to do.
    fn failed(&self) -> BTreeSet<&str> {
        let failed = self.rows.iter().filter(|row| row["outcome"] == "failed");
        failed
            .map(|row| {
                assert!(row["remedy"].is_string(), "no remedy: {row}");
                row["check"].as_str().unwrap_or_default()
            })
            .collect()
    }
}

/// A training whose telemetry goes where that of the deployment goes.
fn train(otlp: &str) -> Result<()> {
    let models = TempDir::new()?;
    let args = [
        "train",
        "wine_quality",
        "--model-repository",
        path(models.path()),
    ];
    let exit = start(&args, &[("OTEL_EXPORTER_OTLP_ENDPOINT", otlp)])?.wait()?;
    assert!(exit.success(), "{}", exit.output());
    Ok(())
}

#[test]
fn a_whole_system_passes_with_its_explorer() -> Result<()> {
    let system = System::start()?;
    train(&system.urls.otlp)?;
    let checked = check_system(&system, &[])?;
    assert!(checked.passed, "{}", checked.output);
    for point in [
        "gateway.ready",
        "sample.answered",
        "sample.stored",
        "place.answers",
        "trace.complete",
        "traces.arrive",
        "metrics.arrive",
        "logs.arrive",
        "fields.prediction",
        "fields.model_log",
        "fields.training_span",
        "fields.training_log",
        "stage.p95",
        "failure.trace",
        "failure.stack",
    ] {
        checked.all(point, "passed");
    }
    checked.all("rule.matches", "skipped");
    checked.all("rule.fires", "skipped");
    let services = ["feature-store", "gateway", "model-service"];
    for signal in ["traces.arrive", "metrics.arrive", "logs.arrive"] {
        let found: Vec<&str> = checked.outcomes(signal).into_keys().collect();
        assert_eq!(found, services, "{signal}");
    }
    let stages: Vec<&str> = checked.outcomes("stage.p95").into_keys().collect();
    assert_eq!(stages.len(), 8, "{stages:?}");
    Ok(())
}

#[test]
fn missing_metrics_fail_and_nothing_else_does() -> Result<()> {
    let system = System::start_with(&[("OTEL_METRICS_EXPORTER", "none")])?;
    let checked = check_system(&system, &["--timeout", "3s"])?;
    assert!(!checked.passed);
    assert_eq!(
        checked.failed(),
        ["metrics.arrive"].into(),
        "{}",
        checked.output
    );
    // Nobody has trained, which is no failure.
    checked.all("fields.training_span", "skipped");
    assert!(
        checked.output.contains("the check failed at 3 points"),
        "{}",
        checked.output
    );
    Ok(())
}

#[test]
fn missing_traces_fail() -> Result<()> {
    // Log records arrive, and name traces that do not.
    let system = System::start_with(&[("OTEL_TRACES_EXPORTER", "none")])?;
    let checked = check_system(&system, &["--timeout", "2s"])?;
    assert!(!checked.passed);
    let failed = checked.failed();
    assert!(
        failed.is_superset(&["trace.complete", "traces.arrive", "failure.trace"].into()),
        "{}",
        checked.output
    );
    checked.all("logs.arrive", "passed");
    Ok(())
}

#[test]
fn without_faults_a_time_limit_is_the_failure() -> Result<()> {
    let data = TempDir::new()?;
    let system = up(data.path(), &["--no-faults"], &[])?;
    let address = |part: &str| {
        system.wait_line(part, |line| {
            let (name, rest) = line.split_once(' ')?;
            let url = rest.split_whitespace().next()?;
            (name == part && url.starts_with("http://")).then(|| url.to_owned())
        })
    };
    system.wait_line("the addresses", |line| {
        line.starts_with("Try:").then_some(())
    })?;
    let (gateway, explorer) = (address("gateway")?, address("explorer")?);
    let checked = check(&["--gateway", &gateway, "--explorer", &explorer])?;
    assert!(checked.passed, "{}", checked.output);
    checked.all("failure.trace", "passed");
    checked.all("failure.stack", "passed");
    assert!(
        checked.output.contains("a limit of 1 µs"),
        "{}",
        checked.output
    );
    // `up` trained at its first start.
    checked.all("fields.training_span", "passed");
    Ok(())
}

#[test]
fn without_a_gateway_the_first_point_says_what_to_do() -> Result<()> {
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?);
    let checked = check(&["--gateway", &closed])?;
    assert!(!checked.passed);
    assert_eq!(checked.rows.len(), 1, "{}", checked.output);
    assert_eq!(checked.failed(), ["gateway.ready"].into());
    assert!(checked.output.contains("--gateway"), "{}", checked.output);
    Ok(())
}

#[test]
#[ignore = "needs servers: set THROUGHLINE_TEST_COLLECTOR and THROUGHLINE_TEST_ELASTICSEARCH_URL, as .ci/components/with does"]
fn a_whole_system_passes_with_elasticsearch_and_its_rules_match() -> Result<()> {
    let url = elasticsearch()?;
    deploy_script("elasticsearch-templates.sh", &url)?;
    let collector = Component::start(
        "collector",
        &["elastic.yaml"],
        &[("ELASTICSEARCH_URL", &url)],
    )?;
    let otlp = collector.setting("COLLECTOR_OTLP_HTTP")?;
    // Stacks with their frames are longer than what Elasticsearch indexes of a text.
    let system = System::start_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", otlp),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
        ("RUST_BACKTRACE", "1"),
    ])?;
    train(otlp)?;
    let gateway = &system.urls.gateway;
    let checked = check(&["--gateway", gateway, "--elasticsearch", &url, "--rules"])?;
    assert!(checked.passed, "{}", checked.output);
    for point in [
        "trace.complete",
        "metrics.arrive",
        "logs.arrive",
        "fields.prediction",
        "fields.model_log",
        "fields.training_span",
        "fields.training_log",
        "stage.p95",
        "failure.trace",
        "failure.stack",
        "rule.matches",
    ] {
        checked.all(point, "passed");
    }
    // There is no Kibana.
    checked.all("rule.fires", "skipped");
    let rules: Vec<&str> = checked.outcomes("rule.matches").into_keys().collect();
    assert_eq!(rules, ["confidence", "errors", "latency"]);
    Ok(())
}

#[test]
#[ignore = "needs servers: set THROUGHLINE_TEST_COLLECTOR and THROUGHLINE_TEST_ELASTICSEARCH_URL, as .ci/components/with does"]
fn alerts_of_the_connector_are_found_and_a_missing_rule_is_named() -> Result<()> {
    let url = elasticsearch()?;
    deploy_script("elasticsearch-templates.sh", &url)?;
    let kibana = kibana::start(&url)?;
    let settings = [("ELASTICSEARCH_URL", url.as_str())];
    let collector = Component::start("collector", &["elastic.yaml"], &settings)?;
    let system = sending_to(collector.setting("COLLECTOR_OTLP_HTTP")?)?;
    let gateway = &system.urls.gateway;
    let place = ["--gateway", gateway, "--elasticsearch", &url];
    let checked = check(&[&place[..], &["--rules", "--kibana", &kibana]].concat())?;
    assert!(!checked.passed);
    assert_eq!(
        checked.failed(),
        ["rule.fires"].into(),
        "{}",
        checked.output
    );
    let expected = [
        ("confidence", "passed"),
        ("errors", "passed"),
        ("latency", "failed"),
    ];
    assert_eq!(
        checked.outcomes("rule.fires"),
        expected.into(),
        "{}",
        checked.output
    );
    assert!(
        checked.output.contains("deploy/elastic/apply.sh"),
        "{}",
        checked.output
    );
    Ok(())
}

#[test]
#[ignore = "needs servers: set THROUGHLINE_TEST_COLLECTOR and THROUGHLINE_TEST_JAEGER, as .ci/components/with does"]
fn a_whole_system_passes_with_jaeger_which_keeps_traces_only() -> Result<()> {
    let jaeger = Component::start("jaeger", &[], &[])?;
    let endpoint = ("JAEGER_OTLP_ENDPOINT", jaeger.setting("JAEGER_OTLP_HTTP")?);
    let collector = Component::start("collector", &["jaeger.yaml"], &[endpoint])?;
    let otlp = collector.setting("COLLECTOR_OTLP_HTTP")?;
    let system = sending_to(otlp)?;
    train(otlp)?;
    let (gateway, query) = (&system.urls.gateway, jaeger.setting("JAEGER_QUERY")?);
    let checked = check(&["--gateway", gateway, "--jaeger", query])?;
    assert!(checked.passed, "{}", checked.output);
    for point in [
        "trace.complete",
        "traces.arrive",
        "fields.training_span",
        "stage.p95",
        "failure.trace",
    ] {
        checked.all(point, "passed");
    }
    for point in [
        "metrics.arrive",
        "logs.arrive",
        "fields.model_log",
        "failure.stack",
        "rule.fires",
    ] {
        checked.all(point, "skipped");
    }
    Ok(())
}
