//! Without the store, without the model service, and with one that misbehaves.

use std::sync::atomic::Ordering;
use std::time::Duration;

use runtime::ProcessOptions;
use serde_json::json;

use super::fake::Behaviour;
use super::harness::{Gateway, Setup};
use super::stores::Troubled;
use crate::PredictionStore;
use crate::store::{Key, StoredPrediction, Written};

#[tokio::test]
async fn without_the_store_the_model_answers() {
    let gateway = Gateway::start().await;
    gateway.predict(&["a"]).await;
    gateway.store.reads_fail.store(true, Ordering::Relaxed);
    let reply = gateway.predict(&["a"]).await;
    assert_eq!(
        (reply.status.as_u16(), reply.cache_status()),
        (200, "throughline; fwd=bypass")
    );
    assert_eq!(reply.each("cached"), [false]);
    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status, 200);
    let detail = ready.json()["detail"].clone();
    assert!(
        detail["prediction_store_reads"]
            .as_str()
            .unwrap()
            .contains("SQLITE_IOERR"),
        "{detail}"
    );
    assert!(detail["prediction_store_writes"].is_null(), "{detail}");
    let search = gateway.get("/v1/predictions").await;
    assert_eq!(
        (search.problem(503), search.header("retry-after")),
        ("store_unavailable".to_owned(), "1")
    );
    gateway.store.reads_fail.store(false, Ordering::Relaxed);
    assert_eq!(
        gateway.predict(&["a"]).await.cache_status(),
        "throughline; hit"
    );
    assert_eq!(gateway.get("/readyz").await.json()["detail"], json!({}));
}

#[tokio::test]
async fn an_answer_that_could_not_be_stored_does_not_say_stored() {
    let gateway = Gateway::start().await;
    gateway.store.writes_fail.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let reply = gateway.predict(&["a"]).await;
        assert_eq!(
            (reply.status.as_u16(), reply.cache_status()),
            (200, "throughline; fwd=miss; detail=store-failed")
        );
    }
    let detail = gateway.get("/readyz").await.json()["detail"].clone();
    assert!(
        detail["prediction_store_writes"]
            .as_str()
            .unwrap()
            .contains("not kept"),
        "{detail}"
    );
    assert!(detail["prediction_store_reads"].is_null(), "{detail}");
    gateway.store.writes_fail.store(false, Ordering::Relaxed);
    assert_eq!(
        gateway.predict(&["a"]).await.cache_status(),
        "throughline; fwd=miss; stored"
    );
}

#[tokio::test]
async fn the_model_answers_when_the_store_hangs() {
    let gateway = Gateway::with(Setup {
        store_timeout: Duration::from_millis(50),
        ..Setup::default()
    })
    .await;
    gateway.store.reads_hang.store(true, Ordering::Relaxed);
    let reply = gateway.predict(&["a"]).await;
    assert_eq!(
        (reply.status.as_u16(), reply.cache_status()),
        (200, "throughline; fwd=bypass")
    );
    assert_eq!(
        gateway.get("/v1/predictions").await.problem(503),
        "store_unavailable"
    );
}

#[tokio::test]
async fn without_the_model_service_stored_predictions_answer() {
    let mut gateway = Gateway::start().await;
    gateway.predict(&["a"]).await;
    gateway.fake.stop().await;
    assert_eq!(
        gateway.predict(&["a"]).await.cache_status(),
        "throughline; hit"
    );
    let reply = gateway.predict(&["b"]).await;
    assert_eq!(
        (reply.problem(503), reply.header("retry-after")),
        ("model_unavailable".to_owned(), "1")
    );
    let reply = gateway.predict(&["b", "a"]).await;
    assert_eq!(
        (reply.status.as_u16(), reply.cache_status()),
        (200, "throughline; fwd=partial")
    );
    assert_eq!(reply.each("error")[0]["code"], "model_unavailable");
    assert_eq!(reply.each("cached")[1], true);
    gateway
        .eventually("readyz shows it", async || {
            !gateway.get("/readyz").await.json()["detail"]["model_service"].is_null()
        })
        .await;
    assert_eq!(gateway.get("/readyz").await.status, 200);
    gateway.fake.restart().await;
    assert_eq!(gateway.predict(&["b"]).await.status, 200);
    gateway
        .eventually("readyz shows it", async || {
            gateway.get("/readyz").await.json()["detail"]["model_service"].is_null()
        })
        .await;
}

#[tokio::test]
async fn a_start_without_the_model_service_takes_the_version_of_the_newest_prediction() {
    let store = Troubled::new();
    let stored = |version: &str, at: &str| StoredPrediction {
        key: Key {
            model: "wine_quality".into(),
            variant: "primary".into(),
            version: version.into(),
            data_id: "a".into(),
        },
        label: "low".to_owned(),
        confidence: 0.5,
        probabilities: vec![0.5, 0.5],
        computed_at: at.parse().unwrap(),
        computed_by: None,
        run_id: None,
    };
    let both = vec![
        stored("7", "2026-01-30T12:00:00Z"),
        stored("6", "2026-01-29T12:00:00Z"),
    ];
    store
        .put_many(both)
        .await
        .unwrap()
        .into_iter()
        .for_each(|result| assert_eq!(result.unwrap(), Written::Stored));
    let mut gateway = Gateway::with(Setup {
        store,
        model_down: true,
        ..Setup::default()
    })
    .await;
    assert_eq!(
        gateway.get("/v1/models").await.problem(503),
        "model_unavailable"
    );
    let reply = gateway.predict(&["a"]).await;
    assert_eq!(
        (reply.cache_status(), reply.each("model_version")),
        ("throughline; hit", vec![json!("7")])
    );
    assert_eq!(reply.each("computed_by"), [json!(null)]);
    assert_eq!(
        gateway.predict(&["b"]).await.problem(503),
        "model_unavailable"
    );
    let body = json!({"model": "text_sentiment", "texts": ["x"]}).to_string();
    assert_eq!(
        gateway
            .post("/v1/predictions", &[], body)
            .await
            .problem(503),
        "model_unavailable"
    );
    gateway.fake.restart().await;
    gateway
        .eventually("version 1 answers", async || {
            gateway.predict(&["a"]).await.each("model_version") == ["1"]
        })
        .await;
}

#[tokio::test]
async fn errors_of_the_model_service_get_codes_of_the_gateway() {
    let gateway = Gateway::start().await;
    let refuse = |status, body, retry_after| Behaviour::Refuse {
        status,
        body,
        retry_after,
    };
    let cases = [
        (
            refuse(400, r#"{"error":"bad tensor"}"#, None),
            422,
            "model_refused",
            "",
        ),
        (
            refuse(404, r#"{"error":"gone","code":"model_not_found"}"#, None),
            404,
            "unknown_model",
            "",
        ),
        (
            refuse(404, r#"{"error":"none","code":"unknown_entity"}"#, None),
            404,
            "unknown_entity",
            "",
        ),
        (
            refuse(429, r#"{"error":"full"}"#, Some("7")),
            429,
            "overloaded",
            "7",
        ),
        (
            refuse(500, r#"{"error":"boom"}"#, None),
            502,
            "model_failed",
            "",
        ),
        (refuse(500, "<html>", None), 502, "model_failed", ""),
        (
            refuse(
                503,
                r#"{"error":"x","code":"feature_store_unavailable"}"#,
                Some("3"),
            ),
            503,
            "feature_store_unavailable",
            "3",
        ),
        (refuse(503, "", None), 503, "model_unavailable", "1"),
        (refuse(504, "", None), 504, "model_timeout", ""),
        (refuse(200, "not json", None), 502, "model_failed", ""),
        (
            refuse(200, r#"{"model_name":"wine_quality","outputs":[]}"#, None),
            502,
            "model_failed",
            "",
        ),
        (refuse(302, "", None), 502, "model_failed", ""),
    ];
    for (behaviour, status, code, retry_after) in cases {
        gateway.fake.behave(behaviour);
        let reply = gateway.predict(&["a"]).await;
        assert_eq!(reply.problem(status), code);
        assert_eq!(reply.header("retry-after"), retry_after, "{code}");
        assert_eq!(reply.cache_status(), "throughline; fwd=miss");
    }
}

#[tokio::test]
async fn a_model_service_that_hangs_is_504_within_the_deadline() {
    let process = ProcessOptions {
        request_timeout: Duration::from_millis(300),
        ..ProcessOptions::default()
    };
    let gateway = Gateway::with(Setup {
        process,
        ..Setup::default()
    })
    .await;
    gateway.predict(&["a"]).await;
    gateway.fake.close_gate();
    let reply = gateway.predict(&["b"]).await;
    assert_eq!(reply.problem(504), "model_timeout");
    // What is stored is answered even then.
    let reply = gateway.predict(&["a", "b"]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.each("error")[1]["code"], "model_timeout");
}

#[tokio::test]
async fn too_many_requests_are_refused_in_the_form_of_each_api() {
    let process = ProcessOptions {
        max_in_flight: 1,
        ..ProcessOptions::default()
    };
    let gateway = Gateway::with(Setup {
        process,
        ..Setup::default()
    })
    .await;
    gateway.fake.close_gate();
    let (reply, ()) = tokio::join!(gateway.predict(&["a"]), async {
        gateway.until_called(1).await;
        let refused = gateway.predict(&["b"]).await;
        assert_eq!(
            (refused.problem(429), refused.header("retry-after")),
            ("overloaded".to_owned(), "1")
        );
        gateway.fake.open_gate();
    });
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn misses_that_wait_for_a_hung_model_leave_room_for_hits() {
    let process = ProcessOptions {
        max_in_flight: 8,
        request_timeout: Duration::from_secs(3),
        ..ProcessOptions::default()
    };
    let gateway = Gateway::with(Setup {
        process,
        ..Setup::default()
    })
    .await;
    gateway.predict(&["a"]).await;
    gateway.fake.close_gate();
    let misses = async {
        let misses = (0..4).map(async |n| gateway.predict(&[&format!("miss-{n}")]).await);
        for reply in futures_util::future::join_all(misses).await {
            assert_eq!(reply.problem(504), "model_timeout");
        }
    };
    let hits = async {
        gateway.until_called(5).await;
        for n in 0..20 {
            let reply = gateway.predict(&[&format!("more-{n}")]).await;
            assert_eq!(
                (reply.problem(429), reply.header("retry-after")),
                ("model_busy".to_owned(), "1")
            );
            assert_eq!(gateway.predict(&["a"]).await.status, 200);
            let reply = gateway.predict(&["a", "b"]).await;
            assert_eq!(reply.each("cached")[0], true);
            assert_eq!(reply.each("error")[1]["code"], "model_busy");
        }
        assert_eq!(gateway.fake.calls().len(), 5);
    };
    tokio::join!(misses, hits);
}

#[tokio::test]
async fn a_variant_that_times_out_repeatedly_is_not_waited_for() {
    let process = ProcessOptions {
        request_timeout: Duration::from_millis(200),
        ..ProcessOptions::default()
    };
    let gateway = Gateway::with(Setup {
        process,
        ..Setup::default()
    })
    .await;
    gateway.predict(&["a"]).await;
    gateway.fake.close_gate();
    for n in 0..5 {
        let reply = gateway.predict(&[&format!("miss-{n}")]).await;
        assert_eq!(reply.problem(504), "model_timeout");
    }
    let calls = gateway.fake.calls().len();
    let reply = gateway.predict(&["b"]).await;
    assert_eq!(
        (reply.problem(503), reply.header("retry-after")),
        ("model_unavailable".to_owned(), "1")
    );
    assert_eq!(gateway.fake.calls().len(), calls);
    assert_eq!(gateway.predict(&["a"]).await.status, 200);
    let ready = gateway.get("/readyz").await.json();
    assert_eq!(
        ready["detail"]["variant_breakers"],
        "primary is not waited for (model_timeout)"
    );
    let models = gateway.get("/v1/models").await.json();
    let health = &models["models"][0]["variants"][0]["health"];
    assert_eq!(health, "unavailable", "{models}");

    // One probe finds out whether it answers; until then nothing else is sent.
    gateway
        .eventually("a probe is sent", async || {
            gateway.predict(&["c"]).await;
            gateway.fake.calls().len() > calls
        })
        .await;
    assert_eq!(
        gateway.predict(&["d"]).await.problem(503),
        "model_unavailable"
    );
    assert_eq!(gateway.fake.calls().len(), calls + 1);

    gateway.fake.open_gate();
    gateway
        .eventually("it is waited for again", async || {
            gateway.predict(&["e"]).await.status == 200
        })
        .await;
    assert_eq!(gateway.get("/readyz").await.json()["detail"], json!({}));
    assert_eq!(gateway.predict(&["f"]).await.status, 200);
}

#[tokio::test]
async fn wrong_columns_are_named_in_readyz() {
    let gateway = Gateway::start().await;
    let rename = |from, to| {
        let sql = format!("ALTER TABLE predictions RENAME COLUMN {from} TO {to}");
        gateway.store.tamper(&sql);
    };
    rename("label", "lable");
    let reply = gateway.predict(&["a"]).await;
    assert_eq!(
        (reply.status.as_u16(), reply.cache_status()),
        (200, "throughline; fwd=bypass")
    );
    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status, 200);
    for key in ["prediction_store_reads", "prediction_store_writes"] {
        let detail = ready.json()["detail"][key].to_string();
        assert!(
            detail.contains("has other columns than this program writes; SQLITE_ERROR"),
            "{key}: {detail}"
        );
    }
    rename("lable", "label");
    gateway.predict(&["b"]).await;
    assert_eq!(gateway.get("/readyz").await.json()["detail"], json!({}));
}
