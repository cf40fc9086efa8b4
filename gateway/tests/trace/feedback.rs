//! Feedback: it finds predictions by their trace, and its event is a part of the trace of the
//! prediction.

use harness::{Answer, wait_until_async};
use protocol::oip::ModelTraining;
use serde_json::{Value, json};

use crate::fake::{Fake, RUN_ID, SPAN_ID, TRACE_ID};
use crate::process::{Gateway, links};

const TRACE: &str = "11112222333344445555666677778888";

async fn send(gateway: &Gateway, item: Value) -> Answer {
    let body = json!({"model": "wine_quality", "feedback": [item]}).to_string();
    gateway.send("POST", "/v1/feedback", &[], body).await
}

/// Asks for one wine as a part of [`TRACE`].
async fn predict(gateway: &Gateway, data_id: &str) {
    let parent = [("traceparent", &*format!("00-{TRACE}-1234567890abcdef-01"))];
    let path = format!("/v1/predictions/wine_quality/{data_id}");
    let answer = gateway.send("GET", &path, &parent, String::new()).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_finds_its_prediction_also_of_an_earlier_version() {
    let fake = Fake::start().await;
    let gateway = Gateway::start(&fake);
    predict(&gateway, "1").await;
    fake.set_version("2");
    wait_until_async("the new version answers", async || {
        gateway.predict(&["9"]).await.json()["predictions"][0]["model_version"] == "2"
    })
    .await;
    let by_trace = json!({"trace_id": TRACE, "label": "high"});
    let judged = send(&gateway, by_trace.clone()).await.json();
    let entry = &judged["feedback"][0];
    assert_eq!(
        (&entry["data_id"], &entry["evaluations"][0]["model_version"]),
        (&json!("1"), &json!("1")),
        "{judged}"
    );
    let code = async |item: Value| send(&gateway, item).await.json()["code"].clone();
    let by_id = json!({"data_id": "1", "label": "high"});
    assert_eq!(code(by_id).await, "prediction_not_stored");
    let of_version = json!({"data_id": "1", "label": "high", "model_version": "1"});
    assert_eq!(send(&gateway, of_version).await.status, 200);

    predict(&gateway, "2").await;
    assert_eq!(code(by_trace).await, "ambiguous_trace");
    let both = json!({"trace_id": TRACE, "data_id": "2", "label": "high"});
    let both = send(&gateway, both).await.json();
    assert_eq!(both["feedback"][0]["evaluations"][0]["model_version"], "2");
    let unknown = json!({"trace_id": "1".repeat(32), "label": "high"});
    assert_eq!(code(unknown).await, "unknown_trace");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_event_belongs_to_the_span_that_computed_the_prediction() {
    let fake = Fake::start().await;
    *fake.shared.training.lock().unwrap() = Some(ModelTraining {
        run_id: RUN_ID.to_owned(),
        classes: vec!["low".to_owned(), "high".to_owned()],
        ..ModelTraining::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("p.db").to_str().unwrap().to_owned();
    let options = ["--prediction-store", &store, "--quality-window", "1"];
    let gateway = Gateway::start_with(&fake, folder, &options);
    gateway.predict(&["1"]).await;
    let wrong = send(&gateway, json!({"data_id": "1", "label": "low"})).await;
    assert_eq!(wrong.status, 200);
    let given = json!({"name": "llm_ground_truth_score", "value": 0.25});
    send(&gateway, json!({"data_id": "1", "score": given})).await;
    let secret = json!({"data_id": "1", "label": "a secret label"});
    assert_eq!(send(&gateway, secret).await.status, 422);

    let ended = gateway.stop();
    assert_eq!(
        ended.tree(&wrong),
        "POST /v1/feedback SERVER\n  SELECT predictions CLIENT\n"
    );
    let server = ended.server(&wrong);
    assert_eq!(links(&server), [(TRACE_ID.to_owned(), SPAN_ID.to_owned())]);
    assert_eq!(server.attributes["ml.model_name"], "wine_quality");
    let logs = ended.collector.logs();
    let mut events: Vec<_> = logs
        .into_iter()
        .filter(|log| log.event_name.as_deref() == Some("gen_ai.evaluation.result"))
        .collect();
    for event in &events {
        let span = (event.trace_id.as_deref(), event.span_id.as_deref());
        assert_eq!(span, (Some(TRACE_ID), Some(SPAN_ID)), "{event:?}");
    }
    events.sort_by_key(|event| event.attributes.len());
    let attributes: Vec<_> = events.iter().map(|event| json!(event.attributes)).collect();
    let confidence = f64::from(0.75_f32);
    let common = json!({"ml.model_name": "wine_quality", "ml.model_version": "1", "ml.variant": "primary",
        "ml.run_id": RUN_ID, "ml.output.label": "high", "ml.output.confidence": confidence, "ml.quality.result": "counted"});
    let with = |own: Value| {
        let mut all = common.clone();
        let own = own.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(own);
        all
    };
    let scored = with(
        json!({"gen_ai.evaluation.name": "llm_ground_truth_score", "gen_ai.evaluation.score.value": 0.25}),
    );
    let judged = with(
        json!({"gen_ai.evaluation.name": "accuracy", "gen_ai.evaluation.score.value": 0.0,
        "gen_ai.evaluation.score.label": "incorrect", "gen_ai.evaluation.explanation": "predicted high, the truth is low"}),
    );
    assert_eq!(attributes, [scored, judged]);

    let series = ended.collector.metric("ml.quality.accuracy");
    assert_eq!(series.len(), 1);
    let expected =
        json!({"model.name": "wine_quality", "ml.model_version": "1", "ml.variant": "primary"});
    assert_eq!(json!(series[0].attributes), expected);
    assert_eq!(series[0].value.as_f64(), Some(0.0));
    let estimated = ended.collector.metric("ml.quality.estimated_accuracy");
    assert_eq!(estimated[0].value.as_f64(), Some(confidence));
    assert!(!ended.everything().contains("a secret label"));
}
