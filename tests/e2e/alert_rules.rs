//! The queries of the Kibana rules in `deploy/elastic/rules`, unchanged, against a real
//! Elasticsearch: which documents match, which do not, and how many matches fire.

mod explorer;
mod files;
mod kibana;

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use harness::send;
use serde_json::{Value, json};

use crate::components::{deploy_script, elasticsearch};

use files::Rule;

/// One document that a rule must match, and the changes by which it must not.
struct Scenario {
    rule: &'static str,
    /// The signals that the document can come by.
    signals: &'static [&'static str],
    /// As the Collector's exporter writes it, without its time.
    matching: Value,
    /// Changes after which it still matches: a JSON pointer and the new value.
    also: Vec<(&'static str, Value)>,
    /// Changes after which it does not; with null the field is missing.
    misses: Vec<(&'static str, Value)>,
}

/// Fields of every record of a part.
fn resource(service: &str) -> Value {
    json!({"attributes": {"service.name": service, "service.namespace": "throughline", "service.version": "0.1.0"}})
}

fn request() -> Value {
    json!({"name": "POST /v1/predictions", "kind": "Server", "duration": 20_935_847, "status": {}, "resource": resource("gateway"),
        "attributes": {"http.request.method": "POST", "http.route": "/v1/predictions", "http.response.status_code": 200}})
}

fn errors() -> Scenario {
    let mut matching = request();
    matching["status"] = json!({"code": "Error"});
    Scenario {
        rule: "errors",
        signals: &["traces"],
        matching,
        also: vec![
            ("/attributes/http.response.status_code", json!(503)),
            ("/duration", json!(1)),
        ],
        misses: vec![
            ("/status/code", Value::Null),
            ("/status/code", json!("Ok")),
            // A failed call below a request that was answered in the end, and the service that
            // caused it.
            ("/kind", json!("Client")),
            ("/resource/attributes/service.name", json!("model-service")),
        ],
    }
}

fn latency() -> Scenario {
    let mut matching = request();
    matching["duration"] = json!(500_000_001);
    Scenario {
        rule: "latency",
        signals: &["traces"],
        matching,
        also: vec![
            ("/duration", json!(5_000_000_000_u64)),
            ("/status/code", json!("Error")),
        ],
        misses: vec![
            ("/duration", json!(500_000_000)),
            // Half a second in another unit, as a forgotten conversion writes it.
            ("/duration", json!(500_001)),
            ("/duration", Value::Null),
            ("/kind", json!("Client")),
            ("/resource/attributes/service.name", json!("feature-store")),
        ],
    }
}

fn validation_accuracy() -> Scenario {
    let matching = json!({"event_name": "ml.training.metrics", "severity_text": "INFO", "severity_number": 9,
        "body": {"text": "training metrics"}, "resource": resource("model-training"),
        "attributes": {"ml.model_name": "wine_quality", "ml.training_accuracy": 0.9, "ml.validation_accuracy": 0.689_968_652}});
    Scenario {
        rule: "validation-accuracy",
        signals: &["logs"],
        matching,
        also: vec![
            ("/attributes/ml.validation_accuracy", json!(0.699_999)),
            ("/attributes/ml.validation_accuracy", json!(0.0)),
            ("/resource/attributes/service.name", json!("throughline")),
        ],
        misses: vec![
            ("/attributes/ml.validation_accuracy", json!(0.7)),
            ("/attributes/ml.validation_accuracy", json!(0.700_001)),
            ("/attributes/ml.validation_accuracy", json!(1.0)),
            ("/attributes/ml.validation_accuracy", Value::Null),
            ("/event_name", json!("model.loaded")),
            ("/event_name", Value::Null),
        ],
    }
}

fn drift() -> Scenario {
    Scenario {
        rule: "drift",
        signals: &["traces", "logs"],
        matching: json!({"resource": resource("model-service"),
            "attributes": {"ml.model_name": "wine_quality", "ml.drift_detected": true}}),
        also: vec![("/attributes/ml.model_name", json!("text_sentiment"))],
        misses: vec![
            ("/attributes/ml.drift_detected", json!(false)),
            ("/attributes/ml.drift_detected", Value::Null),
        ],
    }
}

fn confidence() -> Scenario {
    let matching = json!({"name": "predict wine_quality", "kind": "Internal", "duration": 332_361, "status": {},
        "resource": resource("model-service"),
        "attributes": {"ml.model_name": "wine_quality", "ml.output.label": "high", "ml.output.confidence": 0.599_999}});
    Scenario {
        rule: "confidence",
        signals: &["traces"],
        matching,
        also: vec![("/attributes/ml.output.confidence", json!(0.5))],
        misses: vec![
            ("/attributes/ml.output.confidence", json!(0.6)),
            ("/attributes/ml.output.confidence", json!(0.830_657_540)),
            // A span of several rows has no confidence.
            ("/attributes/ml.output.confidence", Value::Null),
            ("/resource/attributes/service.name", json!("gateway")),
        ],
    }
}

const NAMESPACE: &str = "/resource/attributes/service.namespace";

/// `document` with one field changed, or removed by null.
fn changed(document: &Value, pointer: &str, value: &Value) -> Result<Value> {
    let mut document = document.clone();
    let (parent, field) = pointer.rsplit_once('/').context("a pointer has a slash")?;
    let parent = document
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .context("the parent is an object")?;
    if value.is_null() {
        ensure!(
            parent.remove(field).is_some(),
            "{pointer} was not there anyway"
        );
    } else {
        parent.insert(field.to_owned(), value.clone());
    }
    Ok(document)
}

/// A time as the exporter writes it: milliseconds since 1970 with a fraction.
fn exported(time: SystemTime) -> Result<String> {
    let since = time.duration_since(UNIX_EPOCH)?;
    Ok(format!(
        "{}.{:06}",
        since.as_millis(),
        since.subsec_nanos() % 1_000_000
    ))
}

/// The server, the run's own data streams, and the moment at which the rule looks.
struct Bench {
    url: String,
    namespace: String,
    now: SystemTime,
}

impl Bench {
    fn new(rule: &str) -> Result<Self> {
        static TEMPLATES: OnceLock<std::result::Result<(), String>> = OnceLock::new();
        let url = elasticsearch()?.trim_end_matches('/').to_owned();
        let put = TEMPLATES.get_or_init(|| {
            deploy_script("elasticsearch-templates.sh", &url).map_err(|error| format!("{error:#}"))
        });
        if let Err(error) = put {
            anyhow::bail!("{error}");
        }
        let now = SystemTime::now();
        let run = now.duration_since(UNIX_EPOCH)?.as_nanos();
        let namespace = format!("{}{}x{run}", rule.replace('-', ""), std::process::id());
        Ok(Self {
            url,
            namespace,
            now,
        })
    }

    fn post(&self, path: &str, body: &str) -> Result<Value> {
        let url = format!("{}/{path}", self.url);
        let headers = [("content-type", "application/json")];
        let answer = send("POST", &url, &headers, body.as_bytes())?;
        let text = answer.text();
        ensure!(
            (200..300).contains(&answer.status),
            "{path} answers {}: {text}",
            answer.status
        );
        Ok(serde_json::from_str(&text)?)
    }

    /// Writes documents with their ids; they can be found when this returns.
    fn write(&self, signal: &str, documents: &[(String, Value)]) -> Result<()> {
        let lines = documents
            .iter()
            .map(|(id, document)| format!("{}\n{document}\n", json!({"create": {"_id": id}})));
        let path = format!(
            "{signal}-generic.otel-{}/_bulk?refresh=true",
            self.namespace
        );
        let answer = self.post(&path, &lines.collect::<String>())?;
        ensure!(answer["errors"] == false, "not stored: {answer}");
        Ok(())
    }

    /// Ids of the documents that the rule finds in this run's data streams, by its query and its
    /// window as Kibana combines them.
    fn found(&self, rule: &Rule) -> Result<BTreeSet<String>> {
        let (from, to) = (exported(self.now - rule.window())?, exported(self.now)?);
        let window = json!({"range": {(rule.time_field()): {"gte": from, "lte": to, "format": "epoch_millis"}}});
        let query = rule.query()?["query"].clone();
        let body = json!({"size": 1000, "track_total_hits": true, "_source": false,
            "query": {"bool": {"filter": [query, window]}}});
        let streams: Vec<_> = rule
            .patterns()
            .iter()
            .map(|pattern| pattern.replace("otel-*", &format!("otel-{}", self.namespace)))
            .collect();
        let path = format!(
            "{}/_search?ignore_unavailable=true&allow_no_indices=true",
            streams.join(",")
        );
        let answer = self.post(&path, &body.to_string())?;
        ensure!(
            answer["_shards"]["failed"] == 0,
            "the query fails: {answer}"
        );
        let hits = answer["hits"]["hits"]
            .as_array()
            .context("an answer has hits")?;
        ensure!(
            answer["hits"]["total"]["value"] == hits.len(),
            "more than could be listed: {answer}"
        );
        Ok(hits
            .iter()
            .filter_map(|hit| hit["_id"].as_str().map(str::to_owned))
            .collect())
    }
}

fn check(scenario: &Scenario) -> Result<()> {
    for signal in scenario.signals {
        let bench = Bench::new(&format!("{}{signal}", scenario.rule))?;
        check_signal(&bench, scenario, signal)
            .with_context(|| format!("{} on {signal}", scenario.rule))?;
    }
    Ok(())
}

fn check_signal(bench: &Bench, scenario: &Scenario, signal: &str) -> Result<()> {
    let rule = Rule::read(scenario.rule)?;
    let second = Duration::from_secs(1);
    let stamped = |mut document: Value, time| -> Result<Value> {
        document["@timestamp"] = json!(exported(time)?);
        Ok(document)
    };
    let recent = bench.now - second;

    let mut documents = Vec::new();
    let system = [(NAMESPACE, json!("shop")), (NAMESPACE, Value::Null)];
    for (pointer, value) in scenario.misses.iter().chain(&system) {
        let document = stamped(changed(&scenario.matching, pointer, value)?, recent)?;
        documents.push((format!("miss {pointer}={value}"), document));
    }
    for (when, time) in [
        ("too old", bench.now - rule.window() - second),
        ("not yet", bench.now + 60 * second),
    ] {
        documents.push((
            format!("miss {when}"),
            stamped(scenario.matching.clone(), time)?,
        ));
    }
    bench.write(signal, &documents)?;
    assert_eq!(bench.found(&rule)?, BTreeSet::new(), "near misses match");

    let oldest = stamped(
        scenario.matching.clone(),
        bench.now - rule.window() + second,
    )?;
    let mut matching = vec![("match just inside the window".to_owned(), oldest)];
    for (pointer, value) in &scenario.also {
        let document = stamped(changed(&scenario.matching, pointer, value)?, recent)?;
        matching.push((format!("match {pointer}={value}"), document));
    }
    for number in 0..=rule.threshold() {
        matching.push((
            format!("match {number}"),
            stamped(scenario.matching.clone(), recent)?,
        ));
    }
    let expected: BTreeSet<_> = matching.iter().map(|(id, _)| id.clone()).collect();
    // The rule fires above the threshold, not at it.
    let (few, rest) = matching.split_at(usize::try_from(rule.threshold())?);
    if !few.is_empty() {
        bench.write(signal, few)?;
    }
    let found = bench.found(&rule)?;
    assert!(!rule.fires(found.len()), "fires on {found:?}");
    bench.write(signal, &rest[..1])?;
    let found = bench.found(&rule)?;
    assert!(rule.fires(found.len()), "does not fire on {found:?}");
    bench.write(signal, &rest[1..])?;
    assert_eq!(bench.found(&rule)?, expected);
    Ok(())
}

#[test]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
fn failed_requests_match() -> Result<()> {
    check(&errors())
}

#[test]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
fn slow_requests_match() -> Result<()> {
    check(&latency())
}

#[test]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
fn trainings_below_the_accuracy_match() -> Result<()> {
    check(&validation_accuracy())
}

#[test]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
fn drift_matches_by_either_signal() -> Result<()> {
    check(&drift())
}

#[test]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
fn unsure_predictions_match() -> Result<()> {
    check(&confidence())
}

#[test]
fn every_rule_has_a_scenario() -> Result<()> {
    let tried: BTreeSet<_> = [
        errors(),
        latency(),
        validation_accuracy(),
        drift(),
        confidence(),
    ]
    .map(|s| s.rule.to_owned())
    .into();
    assert_eq!(Rule::names()?, tried);
    Ok(())
}
