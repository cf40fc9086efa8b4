//! The contents of answers: order, duplicates, failures of single entries, texts, one id by path,
//! models.

use serde_json::{Value, json};

use super::fake::{Behaviour, RUN_ID, SPAN_ID, TRACE_ID};
use super::harness::Gateway;

#[tokio::test]
async fn a_prediction_has_all_its_fields() {
    let gateway = Gateway::start().await;
    let reply = gateway.predict(&["wine-0001"]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/json");
    let mut expected = json!({
        "data_id": "wine-0001", "model": "wine_quality", "model_version": "1", "variant": "primary", "label": "high",
        "confidence": 0.75, "probabilities": [0.25, 0.75], "cached": false, "computed_at": "2026-01-31T12:00:00Z",
        "computed_by": {"trace_id": TRACE_ID, "span_id": SPAN_ID}, "run_id": RUN_ID,
    });
    assert_eq!(reply.json(), json!({"predictions": [expected]}));
    expected["cached"] = json!(true);
    assert_eq!(
        gateway.predict(&["wine-0001"]).await.json(),
        json!({"predictions": [expected]})
    );
    assert_eq!(
        gateway
            .get("/v1/predictions/wine_quality/wine-0001")
            .await
            .json(),
        expected
    );
}

#[tokio::test]
async fn answers_keep_the_order_and_duplicates_are_computed_once() {
    let gateway = Gateway::start().await;
    gateway.predict(&["b"]).await;
    let reply = gateway.predict(&["c", "b", "a", "c", "b"]).await;
    assert_eq!(reply.each("data_id"), ["c", "b", "a", "c", "b"]);
    assert_eq!(
        reply.each("cached"),
        [
            json!(false),
            json!(true),
            json!(false),
            json!(false),
            json!(true)
        ]
    );
    assert_eq!(gateway.fake.calls()[1].values, ["c", "a"]);
    assert_eq!(
        *gateway.store.lookups.lock().unwrap(),
        [1, 3],
        "one lookup for each request"
    );
    assert_eq!(
        *gateway.store.writes.lock().unwrap(),
        [1, 2],
        "one write for each request"
    );
}

#[tokio::test]
async fn many_predictions_come_from_the_model_service_as_raw_bytes() {
    let gateway = Gateway::start().await;
    let nine = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    assert_eq!(gateway.predict(&nine).await.status, 200);
    let ten = [
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "7",
        "8",
        "9",
        "missing_features-1",
    ];
    let reply = gateway.predict(&ten).await;
    let binary: Vec<bool> = gateway
        .fake
        .calls()
        .iter()
        .map(|call| call.binary)
        .collect();
    assert_eq!(binary, [false, true]);
    assert_eq!(reply.each("label")[..9], vec![json!("high"); 9]);
    assert_eq!(reply.each("confidence")[..9], vec![json!(0.75); 9]);
    assert_eq!(reply.each("probabilities")[8], json!([0.25, 0.75]));
    assert_eq!(reply.each("error")[9]["code"], "missing_features");
}

#[tokio::test]
async fn an_entity_that_fails_does_not_affect_the_others() {
    let gateway = Gateway::start().await;
    let reply = gateway
        .predict(&[
            "a",
            "unknown_entity-1",
            "outside_max_age-1",
            "missing_features-1",
        ])
        .await;
    assert_eq!(reply.status, 200);
    let codes: Vec<Value> = reply
        .each("error")
        .iter()
        .map(|error| error["code"].clone())
        .collect();
    assert_eq!(
        codes,
        [
            json!(null),
            json!("unknown_entity"),
            json!("outside_max_age"),
            json!("missing_features")
        ]
    );
    let error = &reply.each("error")[1];
    assert_eq!(error["status"], 404);
    assert!(error["title"].is_string());
    assert_eq!(reply.cache_status(), "throughline; fwd=miss; stored");
    // Failures are not stored, so they are computed again.
    gateway.predict(&["a", "unknown_entity-1"]).await;
    assert_eq!(gateway.fake.calls()[1].values, ["unknown_entity-1"]);
}

/// An answer of three rows with these lists of labels, confidences and probabilities.
fn three_rows(label: &str, confidence: &str, probabilities: &str) -> Behaviour {
    let body = format!(
        r#"{{"model_name":"wine_quality","model_version":"1","outputs":[
            {{"name":"label","shape":[3],"datatype":"BYTES","data":{label}}},
            {{"name":"confidence","shape":[3],"datatype":"FP64","data":{confidence}}},
            {{"name":"probabilities","shape":[3,2],"datatype":"FP32","data":{probabilities}}}]}}"#
    );
    Behaviour::Refuse {
        status: 200,
        body: body.leak(),
        retry_after: None,
    }
}

#[tokio::test]
async fn a_row_that_is_no_prediction_fails_alone() {
    let gateway = Gateway::start().await;
    let (labels, sure, both) = (
        r#"["high","low","high"]"#,
        "[0.75,0.5,0.75]",
        "[0.25,0.75,0.5,0.5,0.25,0.75]",
    );
    let cases = [
        (labels, "[0.75,NaN,0.75]", both),
        (labels, "[0.75,null,0.75]", both),
        (labels, "[0.75,1e400,0.75]", both),
        (labels, "[0.75,1e39,0.75]", both),
        (labels, sure, "[0.25,0.75,Infinity,-Infinity,0.25,0.75]"),
        (labels, sure, "[[0.25,0.75],[1],[0.25,0.75]]"),
        (labels, sure, "[[0.25,0.75],[1,0,0],[0.25,0.75]]"),
        (r#"["high","","high"]"#, sure, both),
        (r#"["high",null,"high"]"#, sure, both),
    ];
    for (at, (label, confidence, probabilities)) in cases.into_iter().enumerate() {
        gateway
            .fake
            .behave(three_rows(label, confidence, probabilities));
        let ids = ["a", "bad", "b"].map(|id| format!("{id}-{at}"));
        let reply = gateway.predict(&[&ids[0], &ids[1], &ids[2]]).await;
        assert_eq!(reply.status, 200, "{confidence} {probabilities}");
        assert_eq!(
            reply.each("label"),
            [json!("high"), Value::Null, json!("high")]
        );
        assert_eq!(reply.each("error")[1]["code"], "prediction_failed");
        assert_eq!(reply.cache_status(), "throughline; fwd=miss; stored");
    }
    // The variant has answered.
    let models = gateway.get("/v1/models").await.json();
    let list = models["models"].as_array().unwrap();
    let wine = list
        .iter()
        .find(|one| one["name"] == "wine_quality")
        .unwrap();
    let statistics = &wine["variants"][0]["statistics"];
    assert_eq!(statistics["calls"], 9, "{models}");
    assert_eq!(statistics["errors"], 0, "{models}");
    // Nobody knows which row is missing here, so there is no answer.
    gateway
        .fake
        .behave(three_rows(r#"["high","low"]"#, sure, both));
    let reply = gateway.predict(&["c", "d", "e"]).await;
    assert_eq!(reply.problem(502), "model_failed");
}

/// An answer of a regression for two rows.
fn two_numbers(values: &str) -> Behaviour {
    let body = format!(
        r#"{{"model_name":"wine_quality","model_version":"1","outputs":[
            {{"name":"value","shape":[2],"datatype":"FP32","data":{values}}}]}}"#
    );
    Behaviour::Refuse {
        status: 200,
        body: body.leak(),
        retry_after: None,
    }
}

#[tokio::test]
async fn a_number_is_answered_and_stored_as_a_value() {
    let gateway = Gateway::start().await;
    gateway.fake.behave(two_numbers("[-5.25,NaN]"));
    let reply = gateway.predict(&["a", "b"]).await;
    assert_eq!(reply.each("value"), [json!(-5.25), Value::Null]);
    assert_eq!(reply.each("error")[1]["code"], "prediction_failed");
    let hit = gateway.predict(&["a"]).await;
    assert_eq!(hit.each("cached"), [json!(true)]);
    assert_eq!(hit.each("value"), [json!(-5.25)]);
    for absent in ["label", "confidence", "probabilities"] {
        assert_eq!(hit.each(absent), [Value::Null], "{absent}");
    }
    let found = gateway.get("/v1/predictions?model=wine_quality").await;
    assert_eq!(found.json()["predictions"][0]["value"], -5.25);
    // A number has no label to compare variants by.
    let models = gateway.get("/v1/models").await.json();
    let shares = "/models/0/variants/0/statistics/label_shares";
    assert_eq!(models.pointer(shares), Some(&json!({})), "{models}");
    // One number for two rows.
    gateway.fake.behave(two_numbers("[1]"));
    let reply = gateway.predict(&["c", "d"]).await;
    assert_eq!(reply.problem(502), "model_failed");
}

#[tokio::test]
async fn a_request_without_any_prediction_has_the_status_of_its_errors() {
    let gateway = Gateway::start().await;
    let cases: [(&[&str], u16, &str); 4] = [
        (
            &["unknown_entity-1", "unknown_entity-2"],
            404,
            "unknown_entity",
        ),
        (&["outside_max_age-1"], 422, "outside_max_age"),
        (
            &["missing_features-1", "outside_max_age-1"],
            422,
            "none_succeeded",
        ),
        (
            &["unknown_entity-1", "missing_features-1"],
            422,
            "none_succeeded",
        ),
    ];
    for (ids, status, code) in cases {
        let reply = gateway.predict(ids).await;
        assert_eq!(reply.problem(status), code);
        let errors = reply.json()["errors"].as_array().unwrap().clone();
        assert_eq!(
            errors
                .iter()
                .map(|entry| entry["data_id"].as_str().unwrap())
                .collect::<Vec<_>>(),
            ids
        );
        assert_eq!(reply.cache_status(), "throughline; fwd=miss");
    }
    assert_eq!(
        gateway
            .get("/v1/predictions/wine_quality/unknown_entity-1")
            .await
            .problem(404),
        "unknown_entity"
    );
    assert_eq!(gateway.predict(&["a"]).await.status, 200);
}

#[tokio::test]
async fn texts_are_identified_by_their_hash() {
    let gateway = Gateway::start().await;
    let body = json!({"model": "text_sentiment", "texts": ["good", "bad", "good"]}).to_string();
    let reply = gateway.post("/v1/predictions", &[], body.clone()).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    // The first 16 hex digits of `printf good | sha256sum`.
    let id = "text-770e607624d68926";
    assert_eq!(reply.each("data_id")[0], id);
    assert_eq!(reply.each("data_id")[2], id);
    let call = &gateway.fake.calls()[0];
    assert_eq!(
        (call.model.as_str(), call.input.as_str()),
        ("text_sentiment", "text")
    );
    assert_eq!(call.values, ["good", "bad"]);
    assert_eq!(
        gateway
            .post("/v1/predictions", &[], body)
            .await
            .cache_status(),
        "throughline; hit"
    );
    let stored = gateway
        .get(&format!("/v1/predictions/text_sentiment/{id}"))
        .await;
    assert_eq!(
        (stored.status.as_u16(), stored.json()["cached"].clone()),
        (200, json!(true))
    );
    let missing = gateway
        .get("/v1/predictions/text_sentiment/text-0000000000000000")
        .await;
    assert_eq!(missing.problem(404), "text_not_stored");
    assert_eq!(gateway.fake.calls().len(), 1);
    let found = gateway.get("/v1/predictions?model=text_sentiment").await;
    assert!(!String::from_utf8_lossy(&found.body).contains("good"));
}

#[tokio::test]
async fn a_model_takes_only_its_own_kind_of_input() {
    let gateway = Gateway::start().await;
    for body in [
        json!({"model": "wine_quality", "texts": ["good"]}),
        json!({"model": "text_sentiment", "data_ids": ["wine-0001"]}),
        json!({"model": "echo", "data_ids": ["wine-0001"]}),
    ] {
        let reply = gateway.post("/v1/predictions", &[], body.to_string()).await;
        assert_eq!(reply.problem(422), "invalid_request", "{body}");
    }
    assert_eq!(
        gateway
            .get("/v1/predictions/text_sentiment/wine-0001")
            .await
            .problem(422),
        "invalid_request"
    );
    assert_eq!(gateway.fake.calls().len(), 0);
}

#[tokio::test]
async fn a_model_that_gives_vectors_is_asked_at_v2() {
    let gateway = Gateway::start().await;
    for field in ["texts", "data_ids"] {
        let body = json!({"model": "vectors", field: ["good"]}).to_string();
        let reply = gateway.post("/v1/predictions", &[], body).await;
        assert_eq!(reply.problem(422), "invalid_request", "{field}");
        let detail = reply.json()["detail"].to_string();
        assert!(detail.contains("at /v2/models/vectors/infer"), "{detail}");
    }
    assert_eq!(gateway.fake.calls().len(), 0);
    let models = gateway.get("/v1/models").await.json();
    let models = models["models"].as_array().unwrap().clone();
    let vectors = models.iter().find(|model| model["name"] == "vectors");
    assert_eq!(vectors.unwrap()["inputs"], json!([]));
}

#[tokio::test]
async fn an_unknown_model_is_not_found() {
    let gateway = Gateway::start().await;
    for model in ["nobody", "../../etc", "a b", "unknown/x"] {
        let body = json!({"model": model, "data_ids": ["a"]}).to_string();
        assert_eq!(
            gateway
                .post("/v1/predictions", &[], body)
                .await
                .problem(404),
            "unknown_model",
            "{model}"
        );
    }
    assert_eq!(
        gateway.get("/v1/predictions/nobody/a").await.problem(404),
        "unknown_model"
    );
}

#[tokio::test]
async fn ids_in_paths_are_decoded() {
    let gateway = Gateway::start().await;
    let reply = gateway
        .get("/v1/predictions/wine_quality/a%2Fb%20%C3%BC")
        .await;
    assert_eq!(reply.json()["data_id"], "a/b ü");
    assert_eq!(
        gateway
            .get("/v1/predictions/wine_quality/%FF")
            .await
            .problem(422),
        "invalid_request"
    );
}

#[tokio::test]
async fn models_are_listed_with_their_health() {
    let mut gateway = Gateway::start().await;
    let wine = |models: &Value| {
        models["models"]
            .as_array()
            .unwrap()
            .iter()
            .find(|model| model["name"] == "wine_quality")
            .unwrap()
            .clone()
    };
    let reply = gateway.get("/v1/models").await;
    let mut found = wine(&reply.json());
    let statistics = found["variants"][0]
        .as_object_mut()
        .unwrap()
        .remove("statistics")
        .unwrap();
    let variant = json!({"name": "primary", "mode": "active", "weight": 1, "version": "1", "versions": ["1"], "health": "ready"});
    assert_eq!(
        found,
        json!({"name": "wine_quality", "inputs": ["data_ids"], "fail_over": false, "variants": [variant]})
    );
    assert_eq!(
        (&statistics["calls"], &statistics["agreement"]),
        (&json!(0), &Value::Null)
    );
    gateway.fake.stop().await;
    gateway
        .eventually("unavailable", async || {
            wine(&gateway.get("/v1/models").await.json())["variants"][0]["health"] == "unavailable"
        })
        .await;
}

#[tokio::test]
async fn the_inference_request_carries_its_time_limit() {
    let gateway = Gateway::start().await;
    gateway.predict(&["a"]).await;
    let call = &gateway.fake.calls()[0];
    assert_eq!(call.headers["content-type"], "application/json");
    let micros = call.timeout_micros;
    assert!((8_000_000..10_000_000).contains(&micros), "{micros}");
}
