//! Model services of other makers: without versions, without a list of their models, with `null` in
//! place of missing fields.

use serde_json::json;

use super::super::fake::Fake;
use super::super::harness::{Gateway, Setup};

const MODEL: &str = "/v2/models/wine_quality";

async fn beside(change: impl FnOnce(&Fake)) -> (Gateway, Fake) {
    let other = Fake::predicting("low").await;
    change(&other);
    let services = vec![format!("kserve=http://{}", other.address)];
    (
        Gateway::with(Setup {
            services,
            ..Setup::default()
        })
        .await,
        other,
    )
}

async fn label(gateway: &Gateway) -> String {
    let body = json!({"model": "wine_quality", "data_ids": ["a"]}).to_string();
    let reply = gateway
        .post("/v1/predictions", &[("baggage", "ml.variant=kserve")], body)
        .await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.each("label")[0].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn metadata_may_be_null_empty_or_of_other_types() {
    for (metadata, version) in [
        (
            r#"{"name":"wine_quality","versions":null,"platform":null,"inputs":null,"outputs":null}"#,
            "",
        ),
        (
            r#"{"name":"wine_quality","platform":"","inputs":[],"outputs":[]}"#,
            "",
        ),
        (
            r#"{"versions":[],"inputs":[{"name":"data_id","datatype":"STRING","shape":null}]}"#,
            "",
        ),
        (
            r#"{"versions":[1,2,null,""],"inputs":[{"name":null}]}"#,
            "2",
        ),
        ("{}", ""),
    ] {
        let (gateway, other) = beside(|other| {
            other.answer_read(MODEL, 200, metadata);
            other.shared.versions.lock().unwrap().clear();
        })
        .await;
        assert_eq!(label(&gateway).await, "low", "{metadata}");
        let models = gateway.get("/v1/models").await.json();
        let wine = models["models"]
            .as_array()
            .unwrap()
            .iter()
            .find(|model| model["name"] == "wine_quality")
            .unwrap();
        assert_eq!(
            (
                &wine["variants"][1]["version"],
                &wine["variants"][1]["health"]
            ),
            (&json!(version), &json!("ready")),
            "{metadata}"
        );
        drop(other);
    }
}

#[tokio::test]
async fn a_service_may_have_no_list_and_answer_ready_without_a_body() {
    for (status, body) in [
        (404, ""),
        (405, "{}"),
        (501, ""),
        (400, "no"),
        (200, "[1]"),
        (200, "<html>"),
        (200, r#"{"models":null}"#),
    ] {
        let (gateway, _other) = beside(|other| {
            other.answer_read("/v2/models", status, body);
            other.answer_read("/v2/models/wine_quality/ready", 200, "");
        })
        .await;
        assert_eq!(label(&gateway).await, "low", "{status} {body}");
        let wine = gateway.get("/v1/models").await.json()["models"][2].clone();
        assert_eq!(
            (&wine["name"], &wine["variants"][1]["health"]),
            (&json!("wine_quality"), &json!("ready")),
            "{status} {body}"
        );
        assert_eq!(
            gateway.get("/readyz").await.json()["detail"],
            json!({}),
            "{status} {body}"
        );
    }
}

#[tokio::test]
async fn an_answer_may_have_null_fields_and_fp64_numbers() {
    let (gateway, _other) = beside(|other| {
        let answer = r#"{"model_name":"wine_quality","model_version":null,"id":null,"parameters":null,"outputs":[
            {"name":"label","shape":[1],"datatype":"BYTES","parameters":null,"data":["low"]},
            {"name":"confidence","shape":[1],"datatype":"FP64","data":[0.625]},
            {"name":"probabilities","shape":[1,2],"datatype":"FP64","data":[[0.625,0.375]]}]}"#;
        other.answer_read("/v2/models/wine_quality/infer", 200, answer);
    })
    .await;
    assert_eq!(label(&gateway).await, "low");
    let found = gateway.get("/v1/predictions?variant=kserve").await;
    assert_eq!(
        (found.each("confidence"), found.each("probabilities")),
        (vec![json!(0.625)], vec![json!([0.625, 0.375])])
    );
    assert_eq!(
        (found.each("run_id"), found.each("model_version")),
        (vec![json!(null)], vec![json!("1")])
    );
}

#[tokio::test]
async fn a_version_that_only_inference_answers_name_is_kept() {
    let (gateway, other) = beside(|other| {
        other.answer_read(
            MODEL,
            200,
            r#"{"versions":null,"inputs":[{"name":"data_id"}]}"#,
        );
    })
    .await;
    other.set_version("7");
    assert_eq!(label(&gateway).await, "low");
    // After at least two more reads of its models, it is still a hit.
    let reads = async || {
        other
            .shared
            .list_reads
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    let before = reads().await;
    gateway
        .eventually("its models were read again", async || {
            reads().await > before + 2
        })
        .await;
    assert_eq!(label(&gateway).await, "low");
    assert_eq!(other.calls().len(), 1);
    let found = gateway.get("/v1/predictions?variant=kserve").await;
    assert_eq!(found.each("model_version"), ["7"]);
}

#[tokio::test]
async fn a_service_is_not_listed_for_a_model_that_it_lacks() {
    let (gateway, _other) = beside(|other| {
        other.answer_read("/v2/models/echo", 404, r#"{"error":"none"}"#);
        other.answer_read("/v2/models/text_sentiment/ready", 200, r#"{"ready":false}"#);
        other.answer_read("/v2/models/wine_quality/ready", 503, "");
    })
    .await;
    let models = gateway.get("/v1/models").await.json();
    let variants = |at: usize| {
        let variants = models["models"][at]["variants"].as_array().unwrap();
        variants
            .iter()
            .map(|variant| {
                format!(
                    "{} {}",
                    variant["name"].as_str().unwrap(),
                    variant["health"].as_str().unwrap()
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(variants(0), ["primary ready"], "echo");
    assert_eq!(variants(1), ["primary ready", "kserve unavailable"]);
    assert_eq!(variants(2), ["primary ready", "kserve unavailable"]);
    let body = json!({"model": "echo", "data_ids": ["a"]}).to_string();
    let reply = gateway
        .post("/v1/predictions", &[("baggage", "ml.variant=kserve")], body)
        .await;
    assert_eq!(reply.problem(404), "unknown_model");
}

#[tokio::test]
async fn readyz_names_the_service_that_is_down() {
    let (gateway, mut other) = beside(|_| ()).await;
    assert_eq!(label(&gateway).await, "low");
    other.stop().await;
    let named = async || {
        gateway.get("/readyz").await.json()["detail"]["model_service"]
            .as_str()
            .is_some_and(|text| text.starts_with("kserve is down"))
    };
    gateway.eventually("readyz names it", named).await;
    assert_eq!(gateway.predict(&["new"]).await.status, 200);
    assert_eq!(
        label(&gateway).await,
        "low",
        "its stored predictions still answer"
    );
    other.restart().await;
    gateway
        .eventually("readyz is clear again", async || {
            gateway.get("/readyz").await.json()["detail"] == json!({})
        })
        .await;
}

#[tokio::test]
async fn a_user_and_password_in_an_address_are_sent_as_basic_authorization() {
    let other = Fake::predicting("low").await;
    let services = vec![format!("kserve=http://m:hunter%402@{}", other.address)];
    let gateway = Gateway::with(Setup {
        services,
        ..Setup::default()
    })
    .await;
    assert_eq!(label(&gateway).await, "low");
    let headers = &other.calls()[0].headers;
    // base64 of `m:hunter@2`.
    assert_eq!(headers["authorization"], "Basic bTpodW50ZXJAMg==");
    assert_eq!(headers["host"], other.address.to_string());
    let models = gateway.get("/v1/models").await;
    assert!(!String::from_utf8_lossy(&models.body).contains("hunter"));
    // A client's own credentials are for the gateway and not for its model services.
    let own = [
        ("authorization", "Bearer x"),
        ("baggage", "ml.variant=kserve"),
    ];
    gateway
        .get_with("/v1/predictions/wine_quality/b", &own)
        .await;
    let headers = &other.calls()[1].headers;
    assert_eq!(headers["authorization"], "Basic bTpodW50ZXJAMg==");
}
