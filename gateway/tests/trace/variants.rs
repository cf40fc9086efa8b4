//! Several variants in the trace: which were called, which answered, and why, in events that name
//! no person.

use harness::{Answer, SpanKind, wait_until, wait_until_async};
use serde_json::{Value, json};

use crate::fake::{Behaviour, Fake};
use crate::process::{Ended, Gateway};

/// The choices that were logged in the trace of an answer: variant, reason and error, sorted.
fn choices(ended: &Ended, answer: &Answer) -> Vec<String> {
    let trace_id = answer.trace_id();
    let lines = ended
        .log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let events = lines.filter(|line| {
        line["event.name"] == "feature_flag.evaluation" && line["trace_id"] == trace_id
    });
    let mut choices: Vec<String> = events
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
    choices.sort();
    choices
}

/// The variants of the calls in the trace of an answer, sorted.
fn called(ended: &Ended, answer: &Answer) -> Vec<String> {
    let spans = ended.trace(answer).spans.into_iter();
    let calls = spans.filter(|span| span.kind == SpanKind::Client && span.name == "POST");
    let mut called: Vec<String> = calls.map(|span| span.text("ml.variant").unwrap()).collect();
    called.sort();
    called
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one gateway exports the traces of all requests"
)]
async fn choices_shadows_and_failures_are_recorded() {
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
    let gateway = Gateway::start_with(&primary, folder, &options);
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

    let batch = predict(&ids("batch", 30), "").await;
    let forced = predict(&ids("forced", 1), "ml.variant=canary").await;
    let hit = predict(&ids("forced", 1), "ml.variant=canary").await;
    let user = predict(&ids("user", 3), "user.id=jane.doe%40example.org").await;
    let unknown = predict(&ids("unknown", 1), "ml.variant=no-such-name").await;
    assert_eq!(unknown.status, 422);
    let infer =
        json!({"inputs": [{"name": "data_id", "shape": [1], "datatype": "BYTES", "data": ["a"]}]})
            .to_string();
    let through = gateway
        .send("POST", "/v2/models/wine_quality/infer", &[], infer.clone())
        .await;
    let read = gateway
        .send("GET", "/v2/models/wine_quality", &[], String::new())
        .await;

    canary.behave(Behaviour::Refuse {
        status: 503,
        body: "{}",
        retry_after: None,
    });
    let failed = predict(&ids("failed", 30), "").await;
    assert_eq!(failed.status, 200);
    assert!(
        failed.json()["predictions"]
            .as_array()
            .unwrap()
            .iter()
            .all(|entry| entry["variant"] == "primary")
    );

    // One variant and a shadow, which answers long after the client has its answer.
    std::fs::write(&routes, format!("[models.wine_quality]\n{one}{three}")).unwrap();
    wait_until("the routes have changed", || {
        gateway.log().contains("routes.changed")
    });
    kserve.close_gate();
    let beside = predict(&ids("beside", 1), "").await;
    wait_until("the shadow is called", || kserve.calls().len() == 1);
    kserve.open_gate();
    wait_until_async("the prediction of the shadow is stored", async || {
        let found = gateway
            .send("GET", "/v1/predictions?variant=kserve", &[], String::new())
            .await;
        found.json()["predictions"]
            .as_array()
            .is_some_and(|predictions| predictions.len() == 1)
    })
    .await;
    std::fs::write(&routes, "models = 1").unwrap();
    wait_until("the refusal is logged", || {
        gateway.log().contains("routes.refused")
    });
    let ended = gateway.stop();

    let two_calls = "POST /v1/predictions SERVER\n  SELECT predictions CLIENT\n";
    let of_batch = ended.tree(&batch);
    assert!(
        of_batch.starts_with(two_calls) && of_batch.matches("POST CLIENT").count() == 2,
        "{of_batch}"
    );
    assert_eq!(of_batch.matches("INSERT predictions").count(), 2);
    assert_eq!(called(&ended, &batch), ["canary", "primary"]);
    assert!(
        !ended.server(&batch).attributes.contains_key("ml.variant"),
        "two have answered"
    );
    assert_eq!(
        choices(&ended, &batch),
        ["canary split - -", "primary split - -"]
    );

    assert_eq!(
        choices(&ended, &forced),
        ["canary targeting_match somebody -"]
    );
    assert_eq!(called(&ended, &forced), ["canary"]);
    assert_eq!(choices(&ended, &hit), choices(&ended, &forced));
    assert_eq!(ended.tree(&hit), two_calls);
    for answer in [&forced, &hit] {
        assert_eq!(ended.server(answer).attributes["ml.variant"], "canary");
    }
    assert!(
        choices(&ended, &user)
            .iter()
            .all(|choice| choice.ends_with("split somebody -"))
    );
    assert_eq!(
        (choices(&ended, &user).len(), called(&ended, &user).len()),
        (1, 1)
    );
    assert_eq!(
        (
            ended.tree(&unknown).as_str(),
            choices(&ended, &unknown).len()
        ),
        ("POST /v1/predictions SERVER\n", 0)
    );
    assert_eq!(
        (
            choices(&ended, &through).len(),
            called(&ended, &through).len()
        ),
        (1, 1)
    );
    assert_eq!(
        ended.server(&through).attributes["ml.variant"],
        called(&ended, &through)[0].as_str()
    );
    assert_eq!(
        (
            choices(&ended, &read).len(),
            &ended.server(&read).attributes["ml.variant"]
        ),
        (0, &json!("primary"))
    );

    assert_eq!(
        choices(&ended, &failed),
        [
            "canary split - -",
            "primary default - model_unavailable",
            "primary split - -"
        ]
    );
    assert_eq!(called(&ended, &failed), ["canary", "primary", "primary"]);
    assert_eq!(ended.tree(&failed).matches("POST CLIENT ERROR").count(), 1);
    let attributes = ended.server(&failed).attributes;
    assert_eq!(
        (&attributes["ml.variant"], &attributes["ml.variant.failed"]),
        (&json!("primary"), &json!("canary"))
    );
    assert!(
        !ended.server(&failed).is_error(),
        "the request was answered"
    );

    assert_eq!(called(&ended, &beside), ["kserve", "primary"]);
    assert_eq!(
        ended
            .tree(&beside)
            .matches("INSERT predictions CLIENT")
            .count(),
        2
    );
    assert_eq!(
        (
            choices(&ended, &beside).len(),
            &ended.server(&beside).attributes["ml.variant"]
        ),
        (0, &json!("primary"))
    );

    let cache = ended.counts("ml.prediction_cache.requests");
    assert_eq!(cache["ml.cache.result=hit ml.variant=canary"], 1);
    assert!(
        cache["ml.cache.result=miss ml.variant=canary"] > 5
            && cache["ml.cache.result=miss ml.variant=primary"] > 5
    );
    let overs = ended.counts("ml.variant.fail_overs");
    assert!(
        overs["error.type=model_unavailable ml.variant.failed=canary ml.variant=primary"] > 5,
        "{overs:?}"
    );
    assert_eq!(
        ended.counts("ml.shadow.calls")["ml.shadow.result=answered ml.variant=kserve"],
        1
    );

    let log = &ended.log;
    assert!(log.contains("the routes of wine_quality are now: primary 1, kserve shadow"));
    assert_eq!(log.matches("routes.refused").count(), 1, "{log}");
    // No name of a person and no variant name from a client is exported or logged.
    let everything = ended.everything();
    for secret in ["jane", "example.org", "no-such-name"] {
        assert!(!everything.contains(secret), "{secret}");
    }
}

/// Whether a variant that hangs was let open, or answered again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Open,
    Closed,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_is_in_the_metric_the_choice_and_readyz() {
    for end in [End::Open, End::Closed] {
        let (primary, canary) = (Fake::start().await, Fake::predicting("low").await);
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("p.db").to_str().unwrap().to_owned();
        let service = format!("canary=http://{}", canary.address);
        let options = ["--prediction-store", &store, "--request-timeout", "300ms"];
        let options = [&options[..], &["--model-service", &service]].concat();
        let gateway = Gateway::start_with(&primary, folder, &options);
        let predict = async |id: &str| {
            let body = json!({"model": "wine_quality", "data_ids": [id]}).to_string();
            let forced = [("baggage", "ml.variant=canary")];
            gateway.send("POST", "/v1/predictions", &forced, body).await
        };
        let detail = async || {
            let ready = gateway.send("GET", "/readyz", &[], String::new()).await;
            assert_eq!(ready.status, 200);
            ready.json()["detail"]["variant_breakers"].clone()
        };
        assert_eq!(predict("first").await.status, 200);
        canary.close_gate();
        for n in 0..5 {
            assert_eq!(predict(&format!("hangs-{n}")).await.status, 504);
        }
        let refused = predict("refused").await;
        assert_eq!(refused.status, 503);
        assert_eq!(detail().await, "canary is not waited for (model_timeout)");
        if end == End::Closed {
            // Of two requests at once, one is the probe, and the other one may see it.
            wait_until_async("a choice while a probe is under way", async || {
                tokio::join!(predict("p"), predict("q"));
                gateway
                    .log()
                    .contains(r#""ml.variant.breaker":"half_open""#)
            })
            .await;
            canary.open_gate();
            wait_until_async("it answers again", async || {
                predict("r").await.status == 200
            })
            .await;
            assert_eq!(detail().await, Value::Null);
        }
        let ended = gateway.stop();
        let trace_id = refused.trace_id();
        let lines = ended.log.lines();
        let events: Vec<Value> = lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|event: &Value| {
                event["event.name"] == "feature_flag.evaluation" && event["trace_id"] == trace_id
            })
            .collect();
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0]["ml.variant.breaker"], "open", "{events:?}");
        let series = ended.collector.metric("ml.variant.breaker.open");
        let values: Vec<_> = series
            .iter()
            .map(|series| {
                (
                    series.attributes["ml.variant"].clone(),
                    series.value.as_f64(),
                )
            })
            .collect();
        let expected = if end == End::Open { 1.0 } else { 0.0 };
        assert_eq!(values, [(json!("canary"), Some(expected))], "{end:?}");
    }
}
