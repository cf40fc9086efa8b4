//! Several variants in the trace: who was asked, who answered, and why, in events that name no person.

use serde_json::{Value, json};

use crate::fake::{Behaviour, Fake};
use crate::process::{Process, Span, counts, eventually, server, tree};

/// The choices that were told in one trace: variant, reason and error, sorted.
fn choices(log: &str, trace: &str) -> Vec<String> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let events = lines.filter(|line| {
        line["event.name"] == "feature_flag.evaluation" && line["trace_id"] == trace
    });
    let mut told: Vec<String> = events
        .map(|event| {
            assert_eq!(event["feature_flag.key"], "wine_quality");
            assert_eq!(
                (
                    &event["feature_flag.provider.name"],
                    &event["feature_flag.set.id"]
                ),
                (&json!("throughline"), &json!("routes.toml"))
            );
            assert_eq!(event["feature_flag.version"].as_str().unwrap().len(), 12);
            let text = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
            let context = if event["feature_flag.context.id"].is_string() {
                "somebody"
            } else {
                "-"
            };
            let (variant, reason) = (
                text("feature_flag.result.variant"),
                text("feature_flag.result.reason"),
            );
            format!("{variant} {reason} {context} {}", text("error.type"))
        })
        .collect();
    told.sort();
    told
}

/// The variants of the calls that a trace made, sorted.
fn called(spans: &[Span], trace: &str) -> Vec<String> {
    let calls = spans
        .iter()
        .filter(|span| span.trace == trace && span.kind == 3 && span.name == "POST");
    let mut called: Vec<String> = calls
        .map(|span| span.attributes["ml.variant"].as_str().unwrap().to_owned())
        .collect();
    called.sort();
    called
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn choices_shadows_and_failures_are_told() {
    let (primary, canary, kserve) = (
        Fake::start().await,
        Fake::predicting("low").await,
        Fake::start().await,
    );
    let folder = tempfile::tempdir().unwrap();
    let (routes, store) = (
        folder.path().join("routes.toml"),
        folder.path().join("p.db"),
    );
    let variant = |name: &str, fake: &Fake, how: &str| {
        format!(
            "[[models.wine_quality.variants]]\nname = \"{name}\"\nurl = \"http://{}\"\n{how}\n",
            fake.address
        )
    };
    let [one, two, three] = [
        variant("primary", &primary, "weight = 1"),
        variant("canary", &canary, "weight = 1"),
        variant("kserve", &kserve, "mode = \"shadow\""),
    ];
    std::fs::write(
        &routes,
        format!("[models.wine_quality]\nfail_over = true\n{one}{two}"),
    )
    .unwrap();
    let (routes_path, store) = (
        routes.to_str().unwrap().to_owned(),
        store.to_str().unwrap().to_owned(),
    );
    let options = [
        "--prediction-store",
        &store,
        "--routes",
        &routes_path,
        "--routes-refresh",
        "20ms",
    ];
    let gateway = Process::with(&primary, folder, &options).await;
    let predict = async |ids: &[String], baggage: &str| {
        let body = json!({"model": "wine_quality", "data_ids": ids}).to_string();
        gateway
            .send("POST", "/v1/predictions", &[("baggage", baggage)], body)
            .await
    };
    let ids = |name: &str, count: usize| {
        (0..count)
            .map(|n| format!("{name}-{n}"))
            .collect::<Vec<_>>()
    };

    let (_, _, batch) = predict(&ids("batch", 30), "").await;
    let (_, _, forced) = predict(&ids("forced", 1), "ml.variant=canary").await;
    let (_, _, hit) = predict(&ids("forced", 1), "ml.variant=canary").await;
    let (_, _, user) = predict(&ids("user", 3), "user.id=jane.doe%40example.org").await;
    let (status, _, unknown) = predict(&ids("unknown", 1), "ml.variant=no-such-name").await;
    assert_eq!(status, 422);
    let infer =
        json!({"inputs": [{"name": "data_id", "shape": [1], "datatype": "BYTES", "data": ["a"]}]})
            .to_string();
    let (_, _, through) = gateway
        .send("POST", "/v2/models/wine_quality/infer", &[], infer.clone())
        .await;
    let (_, _, read) = gateway
        .send("GET", "/v2/models/wine_quality", &[], String::new())
        .await;

    canary.behave(Behaviour::Refuse {
        status: 503,
        body: "{}",
        retry_after: None,
    });
    let (status, body, failed) = predict(&ids("failed", 30), "").await;
    assert_eq!(status, 200);
    assert!(
        body["predictions"]
            .as_array()
            .unwrap()
            .iter()
            .all(|entry| entry["variant"] == "primary")
    );

    // A shadow, and nothing to choose; the shadow answers long after the client has its answer.
    std::fs::write(&routes, format!("[models.wine_quality]\n{one}{three}")).unwrap();
    eventually("the routes have changed", async || {
        gateway.log.lock().unwrap().contains("routes.changed")
    })
    .await;
    kserve.close_gate();
    let (_, _, beside) = predict(&ids("beside", 1), "").await;
    eventually("the shadow is called", async || kserve.calls().len() == 1).await;
    kserve.open_gate();
    let kept = async || {
        let (_, found, _) = gateway
            .send("GET", "/v1/predictions?variant=kserve", &[], String::new())
            .await;
        found["predictions"]
            .as_array()
            .is_some_and(|predictions| predictions.len() == 1)
    };
    eventually("the prediction of the shadow is kept", kept).await;
    std::fs::write(&routes, "models = 1").unwrap();
    eventually("it is told", async || {
        gateway.log.lock().unwrap().contains("routes.refused")
    })
    .await;
    let metrics = gateway.metrics.clone();
    let (spans, log) = gateway.stop().await;

    let two_calls = "POST /v1/predictions SERVER\n  SELECT predictions CLIENT\n";
    let of_batch = tree(&spans, &batch);
    assert!(
        of_batch.starts_with(two_calls) && of_batch.matches("POST CLIENT").count() == 2,
        "{of_batch}"
    );
    assert_eq!(of_batch.matches("INSERT predictions").count(), 2);
    assert_eq!(called(&spans, &batch), ["canary", "primary"]);
    assert!(
        !server(&spans, &batch).attributes.contains_key("ml.variant"),
        "two have answered"
    );
    assert_eq!(
        choices(&log, &batch),
        ["canary split - -", "primary split - -"]
    );

    assert_eq!(
        choices(&log, &forced),
        ["canary targeting_match somebody -"]
    );
    assert_eq!(called(&spans, &forced), ["canary"]);
    assert_eq!(choices(&log, &hit), choices(&log, &forced));
    assert_eq!(tree(&spans, &hit), two_calls);
    for trace in [&forced, &hit] {
        assert_eq!(server(&spans, trace).attributes["ml.variant"], "canary");
    }
    assert!(
        choices(&log, &user)
            .iter()
            .all(|choice| choice.ends_with("split somebody -"))
    );
    assert_eq!(
        (choices(&log, &user).len(), called(&spans, &user).len()),
        (1, 1)
    );
    assert_eq!(
        (
            tree(&spans, &unknown).as_str(),
            choices(&log, &unknown).len()
        ),
        ("POST /v1/predictions SERVER\n", 0)
    );
    assert_eq!(
        (
            choices(&log, &through).len(),
            called(&spans, &through).len()
        ),
        (1, 1)
    );
    assert_eq!(
        server(&spans, &through).attributes["ml.variant"],
        called(&spans, &through)[0].as_str()
    );
    assert_eq!(
        (
            choices(&log, &read).len(),
            &server(&spans, &read).attributes["ml.variant"]
        ),
        (0, &json!("primary"))
    );

    let told = choices(&log, &failed);
    assert_eq!(
        told,
        [
            "canary split - -",
            "primary default - model_unavailable",
            "primary split - -"
        ]
    );
    assert_eq!(called(&spans, &failed), ["canary", "primary", "primary"]);
    assert_eq!(
        tree(&spans, &failed).matches("POST CLIENT ERROR").count(),
        1
    );
    let attributes = &server(&spans, &failed).attributes;
    assert_eq!(
        (&attributes["ml.variant"], &attributes["ml.variant.failed"]),
        (&json!("primary"), &json!("canary"))
    );
    assert!(!server(&spans, &failed).error, "the request was answered");

    assert_eq!(called(&spans, &beside), ["kserve", "primary"]);
    assert_eq!(
        tree(&spans, &beside)
            .matches("INSERT predictions CLIENT")
            .count(),
        2
    );
    assert_eq!(
        (
            choices(&log, &beside).len(),
            &server(&spans, &beside).attributes["ml.variant"]
        ),
        (0, &json!("primary"))
    );

    let cache = counts(&metrics, "ml.prediction_cache.requests");
    assert_eq!(cache["ml.cache.result=hit ml.variant=canary"], 1);
    assert!(
        cache["ml.cache.result=miss ml.variant=canary"] > 5
            && cache["ml.cache.result=miss ml.variant=primary"] > 5
    );
    let overs = counts(&metrics, "ml.variant.fail_overs");
    assert!(
        overs["error.type=model_unavailable ml.variant.failed=canary ml.variant=primary"] > 5,
        "{overs:?}"
    );
    assert_eq!(
        counts(&metrics, "ml.shadow.calls")["ml.shadow.result=answered ml.variant=kserve"],
        1
    );

    assert!(log.contains("the routes of wine_quality are now: primary 1, kserve shadow"));
    assert_eq!(log.matches("routes.refused").count(), 1, "{log}");
    // Neither what a person is called nor what a client made up is anywhere.
    let everything = format!("{spans:?} {log} {:?}", metrics.lock().unwrap());
    for secret in ["jane", "example.org", "no-such-name"] {
        assert!(!everything.contains(secret), "{secret}");
    }
}
