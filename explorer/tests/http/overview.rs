//! Map, models, metrics and logs: the same numbers as JSON and as pages.

use serde_json::{Value, json};

use crate::support::{Explorer, JSON};

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn resource(service: &str) -> Value {
    json!({ "attributes": [attribute("service.name", service), attribute("vcs.ref.head.revision", "0123456789abcdef")] })
}

/// Sends spans of one service: id, parent, name, kind, attributes.
fn spans(explorer: &Explorer, trace: u8, service: &str, spans: &[(u8, u8, &str, u8, Vec<Value>)]) {
    let spans: Vec<Value> = spans
        .iter()
        .map(|(id, parent, name, kind, attributes)| {
            let parent = match parent {
                0 => String::new(),
                parent => format!("{parent:016x}"),
            };
            json!({ "traceId": format!("{trace:032x}"), "spanId": format!("{id:016x}"), "parentSpanId": parent,
                "name": name, "kind": kind, "startTimeUnixNano": "1760000000000000000",
                "endTimeUnixNano": "1760000000012000000", "attributes": attributes })
        })
        .collect();
    let body = json!({ "resourceSpans": [{ "resource": resource(service), "scopeSpans": [{ "spans": spans }] }] });
    let answer = explorer.post("/v1/traces", &[JSON], body.to_string().as_bytes());
    assert_eq!(answer.text(), "{}");
}

/// A prediction over two services.
fn predict(explorer: &Explorer, trace: u8, model: &str) {
    let ml = |more: &[(&str, &str)]| {
        let own = [
            ("ml.model_name", model),
            ("ml.variant", "canary"),
            ("ml.model_version", "3"),
            ("ml.run_id", "r3"),
            ("ml.output.label", "high"),
        ];
        own.iter()
            .chain(more)
            .map(|(key, value)| attribute(key, value))
            .collect::<Vec<_>>()
    };
    let mut prediction = ml(&[]);
    prediction.push(json!({ "key": "ml.output.confidence", "value": { "doubleValue": 0.91 } }));
    let name = format!("predict {model}");
    spans(
        explorer,
        trace,
        "model-service",
        &[
            (5, 4, "preprocess_input", 1, vec![]),
            (4, 3, &name, 1, prediction),
            (3, 2, "POST /infer", 2, vec![]),
        ],
    );
    spans(
        explorer,
        trace,
        "gateway",
        &[
            (
                6,
                1,
                "SELECT predictions",
                3,
                vec![attribute("db.system.name", "sqlite")],
            ),
            (
                2,
                1,
                "POST",
                3,
                vec![attribute("server.address", "127.0.0.1")],
            ),
            (1, 0, "POST /v1/predictions", 2, vec![]),
        ],
    );
}

fn train(explorer: &Explorer) {
    let number = |key: &str, value: f64| json!({ "key": key, "value": { "doubleValue": value } });
    let mut of_run: Vec<_> = [
        ("ml.model_name", "wine"),
        ("ml.run_id", "r3"),
        ("ml.model_version", "3"),
        ("ml.dataset", "wines"),
        ("ml.dataset_sha256", "4a402cf041b025d4"),
    ]
    .map(|(key, value)| attribute(key, value))
    .to_vec();
    of_run.push(number("ml.validation_accuracy", 0.764));
    of_run.push(number("ml.baseline_accuracy", 0.531));
    let epoch = |at: f64, rank: f64| {
        vec![
            number("ml.training.epoch", at),
            number("ml.training.loss", 1.0 / at),
            number("ml.training.rank", rank),
            number("ml.training.compute.duration", 0.25),
            number("ml.training.all_reduce.duration", 0.05),
        ]
    };
    let rank = |rank: f64| {
        vec![
            number("ml.training.rank", rank),
            number("ml.training.compute.duration", 0.5),
        ]
    };
    spans(
        explorer,
        200,
        "model-training",
        &[
            (11, 9, "epoch", 1, epoch(1.0, 0.0)),
            (12, 9, "epoch", 1, epoch(2.0, 0.0)),
            (13, 10, "epoch", 1, epoch(1.0, 1.0)),
            (9, 2, "rank", 1, rank(0.0)),
            (10, 2, "rank", 1, rank(1.0)),
            (2, 1, "train_model", 1, vec![]),
            (1, 0, "train wine", 1, of_run),
        ],
    );
}

#[test]
fn the_map_has_the_calls_of_real_spans_as_json_and_as_a_drawing() {
    let explorer = Explorer::start(&[]);
    assert!(explorer.get("/map").text().contains("No call in this time"));
    predict(&explorer, 1, "wine");
    predict(&explorer, 2, "wine");
    let map = explorer.read("/api/map");
    let edges: Vec<_> = map["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| {
            assert_eq!((&edge["calls"], &edge["p95_ms"]), (&json!(2), &json!(12.0)));
            format!(
                "{} > {}",
                edge["from"].as_str().unwrap(),
                edge["to"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        edges,
        [
            "client > service:gateway",
            "service:gateway > service:model-service",
            "service:gateway > store:sqlite:gateway",
            "service:model-service > variant:wine:canary",
        ]
    );
    let page = explorer.get("/map").text();
    for expected in [
        "href=\"/?service=gateway\"",
        "href=\"/?model=wine&amp;variant=canary\"",
        "href=\"/?where=db.system.name+is+sqlite\"",
        "<path class=\"call\"",
        "<caption class=\"hidden\">Calls, the most frequent first</caption>",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
    // The link opens a list that has the traces.
    let list = explorer.get("/?service=model-service").text();
    assert!(list.contains("POST /v1/predictions"), "{list}");
    assert_eq!(explorer.get("/map?minutes=0").status, 400);
    assert_eq!(explorer.get("/api/map?minutes=999999").status, 400);
}

#[test]
fn a_model_has_its_variants_versions_curves_and_workers() {
    let explorer = Explorer::start(&[]);
    assert!(explorer.get("/models").text().contains("No model yet"));
    assert_eq!(explorer.get("/models/wine").status, 404);
    train(&explorer);
    predict(&explorer, 1, "wine");
    let models = explorer.read("/api/models");
    assert_eq!(models["models"][0]["variants"], json!(["canary"]));
    let model = explorer.read("/api/models/wine");
    let version = &model["versions"][0];
    assert_eq!(
        (&version["commit"], &version["dataset_sha256"]),
        (&json!("0123456789abcdef"), &json!("4a402cf041b025d4"))
    );
    assert_eq!(
        (
            &version["validation_accuracy"],
            &version["baseline_accuracy"]
        ),
        (&json!(0.764), &json!(0.531))
    );
    assert_eq!(
        model["variants"][0]["stages"][0]["name"],
        "preprocess_input"
    );
    assert_eq!(model["variants"][0]["confidence"][18], 1);
    assert_eq!(
        model["runs"][0]["ranks"][1]["epochs"][0]["compute_seconds"],
        0.25
    );
    let page = explorer.get("/models/wine").text();
    for expected in [
        "76.4 %",
        "53.1 %",
        "title=\"0123456789abcdef\"",
        "title=\"SHA-256 4a402cf041b025d4\"",
        "preprocess_input",
        "aria-label=\"Training loss of wine by epoch\"",
        "aria-label=\"Computing and all-reduce of rank 1 by epoch\"",
        "aria-label=\"Confidences of wine canary · version 3\"",
        "href=\"/traces/000000000000000000000000000000c8\"",
        "href=\"/?model=wine&amp;variant=canary&amp;version=3\"",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
    assert!(
        explorer
            .get("/models")
            .text()
            .contains("href=\"/models/wine\"")
    );
}

#[test]
fn a_model_with_a_hostile_name_has_a_page_too() {
    let explorer = Explorer::start(&[]);
    let name = "<script>alert(1)</script>/../ü & \"";
    predict(&explorer, 1, name);
    let list = explorer.get("/models").text();
    let link = list
        .split("href=\"/models/")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let page = explorer.get(&format!("/models/{link}"));
    assert_eq!(page.status, 200, "{link}");
    for text in [list, page.text(), explorer.get("/map").text()] {
        assert!(!text.contains("<script>alert"), "{text}");
        assert!(text.contains("&lt;script&gt;alert(1)"), "{text}");
    }
}

#[test]
fn inputs_are_beside_their_thresholds_in_words() {
    let explorer = Explorer::start(&[]);
    predict(&explorer, 1, "wine");
    let gauge = |metric: &str, feature: &str, value: f64| {
        let attributes = [
            ("model.name", "wine"),
            ("ml.model_version", "3"),
            ("ml.variant", "canary"),
            ("ml.feature.name", feature),
            ("ml.drift.method", "psi"),
        ];
        let attributes: Vec<_> = attributes
            .iter()
            .map(|(key, value)| attribute(key, value))
            .collect();
        let point = json!({ "timeUnixNano": "1760000000000000000", "asDouble": value, "attributes": attributes });
        let metrics = json!([{ "name": metric, "gauge": { "dataPoints": [point] } }]);
        let body = json!({ "resourceMetrics": [{ "resource": resource("model-service"), "scopeMetrics": [{ "metrics": metrics }] }] });
        explorer.post("/v1/metrics", &[JSON], body.to_string().as_bytes());
    };
    for (feature, score) in [("alcohol", 0.9), ("ph", 0.1)] {
        gauge("ml.drift.score", feature, score);
        gauge("ml.drift.threshold", feature, 0.25);
    }
    let inputs = explorer.read("/api/models/wine")["inputs"].clone();
    assert_eq!(
        (&inputs[0]["feature"], &inputs[0]["drifts"]),
        (&json!("alcohol"), &json!(true))
    );
    let page = explorer.get("/models/wine").text();
    assert!(
        page.contains("0.900 is above the threshold 0.250: it drifts"),
        "{page}"
    );
    assert!(
        page.contains("0.100 is within the threshold 0.250"),
        "{page}"
    );
    assert!(explorer.get("/models").text().contains("⚠ 1 drift"));
}

#[test]
fn a_metric_is_a_chart_over_time() {
    let explorer = Explorer::start(&[]);
    assert!(explorer.get("/metrics").text().contains("No metric yet"));
    let second = |at: u64| (1_760_000_000 + at).to_string() + "000000000";
    for (at, counts) in [(10, [4, 0]), (20, [4, 6])] {
        let count: u64 = counts.iter().sum();
        let point = json!({ "startTimeUnixNano": second(0), "timeUnixNano": second(at), "count": count.to_string(), "sum": 1.5,
            "explicitBounds": [0.1], "bucketCounts": counts.map(|count: u64| count.to_string()), "attributes": [attribute("http.route", "/<b>")] });
        let total = json!({ "startTimeUnixNano": second(0), "timeUnixNano": second(at), "asInt": (at * 3).to_string() });
        let metrics = json!([
            { "name": "latency", "unit": "s", "description": "how long", "histogram": { "aggregationTemporality": 2, "dataPoints": [point] } },
            { "name": "calls", "sum": { "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [total] } },
        ]);
        let body = json!({ "resourceMetrics": [{ "resource": resource("gateway"), "scopeMetrics": [{ "metrics": metrics }] }] });
        explorer.post("/v1/metrics", &[JSON], body.to_string().as_bytes());
    }
    let calls = explorer.read("/api/metrics/points?name=calls");
    assert_eq!(calls["series"][0]["shows"], "rate");
    assert_eq!(calls["series"][0]["points"][1]["value"], 3.0);
    let latency = explorer.read("/api/metrics/points?name=latency");
    assert_eq!(latency["series"][0]["points"][0]["p50"], 0.05);
    assert_eq!(latency["series"][0]["points"][1]["buckets"], json!([0, 6]));
    let page = explorer.get("/metrics?name=latency").text();
    for expected in [
        "how long",
        "aria-label=\"latency of gateway\"",
        "heat-6",
        "p95",
        "50.0 ms",
        "http.route=/&lt;b&gt;",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
    assert!(
        explorer
            .get("/metrics")
            .text()
            .contains("href=\"/metrics?name=latency\"")
    );
    assert_eq!(explorer.get("/metrics?name=nobody").status, 404);
    assert_eq!(explorer.get("/api/metrics/points?name=nobody").status, 404);
    assert_eq!(explorer.get("/api/metrics/points").status, 400);
}

#[test]
fn logs_are_found_by_text_severity_service_and_trace() {
    let explorer = Explorer::start(&[]);
    let trace = "5b8efff798038103d269b633813fc60c";
    for (service, severity, text, trace) in [
        ("gateway", 9, "listening", ""),
        ("gateway", 17, "the <store> is down", trace),
        ("model-service", 13, "slow", trace),
    ] {
        let record = json!({ "severityNumber": severity, "body": { "stringValue": text }, "traceId": trace,
            "spanId": if trace.is_empty() { "" } else { "00f067aa0ba902b7" }, "timeUnixNano": "1760000000000000000",
            "attributes": [attribute("error.type", "timeout")] });
        let body = json!({ "resourceLogs": [{ "resource": resource(service), "scopeLogs": [{ "logRecords": [record] }] }] });
        explorer.post("/v1/logs", &[JSON], body.to_string().as_bytes());
    }
    let found = |query: &str| {
        let page = explorer.get(&format!("/logs?{query}"));
        assert_eq!(page.status, 200, "{query}");
        let text = page.text();
        ["listening", "the &lt;store&gt; is down", "slow"]
            .map(|body| text.contains(&format!("<div class=\"body\">{body}</div>")))
    };
    // As a form sends it, with fields that are empty.
    assert_eq!(found("q=&severity=&service=&trace_id="), [true, true, true]);
    assert_eq!(found("q=STORE"), [false, true, false]);
    assert_eq!(found("severity=warn"), [false, true, true]);
    assert_eq!(found("service=gateway"), [true, true, false]);
    assert_eq!(found(&format!("trace_id={trace}")), [false, true, true]);
    assert_eq!(found("q=nothing"), [false, false, false]);
    let page = explorer.get("/logs?severity=error").text();
    assert!(
        page.contains(&format!("href=\"/traces/{trace}/00f067aa0ba902b7\"")),
        "{page}"
    );
    assert!(page.contains("error.type = timeout"), "{page}");
    assert!(page.contains("<option value=\"error\" selected>"), "{page}");
    assert_eq!(explorer.get("/logs?severity=loud").status, 400);
    assert_eq!(explorer.get("/logs?trace_id=7").status, 400);
}

#[test]
fn pages_are_bounded_however_much_arrives() {
    let explorer = Explorer::start(&[]);
    for trace in 1..=120 {
        let long = format!("{}{trace}", "<".repeat(120));
        predict(&explorer, trace, &long);
        let record = json!({ "severityNumber": 9, "body": { "stringValue": "&".repeat(60_000) },
            "attributes": [attribute(&long, &"<".repeat(60_000))] });
        let body = json!({ "resourceLogs": [{ "resource": resource(&long), "scopeLogs": [{ "logRecords": [record] }] }] });
        explorer.post("/v1/logs", &[JSON], body.to_string().as_bytes());
        let points: Vec<_> = (0..20)
            .map(|at| json!({ "asInt": "1", "timeUnixNano": "7", "attributes": [attribute(&format!("{long}{at}"), &long)] }))
            .collect();
        let metrics = json!([{ "name": "many", "gauge": { "dataPoints": points } }, { "name": long, "gauge": { "dataPoints": points } }]);
        let body = json!({ "resourceMetrics": [{ "resource": resource(&long), "scopeMetrics": [{ "metrics": metrics }] }] });
        explorer.post("/v1/metrics", &[JSON], body.to_string().as_bytes());
    }
    for path in [
        "/map",
        "/models",
        "/metrics",
        "/metrics?name=many",
        "/logs?limit=1000",
    ] {
        let page = explorer.get(path);
        assert_eq!(page.status, 200, "{path}");
        let bytes = page.text().len();
        assert!(bytes < 1_048_576, "{path}: {bytes}");
    }
}
