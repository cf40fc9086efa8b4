//! A client that leaves before the answer: what was chosen and looked up for it is recorded.

use harness::{SpanKind, wait_until_async};
use serde_json::json;

use crate::fake::Fake;
use crate::process::Gateway;

const MODEL: &str = "wine_quality";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_client_leaves_is_recorded() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let routes = folder.path().join("routes.toml");
    let store = folder.path().join("p.db");
    let variant = |name: &str| {
        format!(
            "[[models.{MODEL}.variants]]\nname = \"{name}\"\nurl = \"http://{}\"\nweight = 1\n",
            fake.address
        )
    };
    let text = format!(
        "[models.{MODEL}]\n{}{}",
        variant("primary"),
        variant("canary")
    );
    std::fs::write(&routes, text).unwrap();
    let (routes, store) = (
        routes.to_str().unwrap().to_owned(),
        store.to_str().unwrap().to_owned(),
    );
    let options = ["--prediction-store", &store, "--routes", &routes];
    let gateway = Gateway::start_with(&fake, folder, &options);

    fake.close_gate();
    let predict = json!({"model": MODEL, "data_ids": ["a"]}).to_string();
    let infer =
        json!({"inputs": [{"name": "data_id", "shape": [1], "datatype": "BYTES", "data": ["b"]}]})
            .to_string();
    let requests = [
        ("/v1/predictions".to_owned(), predict),
        (format!("/v2/models/{MODEL}/infer"), infer),
    ];
    for (calls, (path, body)) in (1..).zip(requests) {
        let baggage = [("baggage", "ml.variant=canary")];
        let connection = gateway.open("POST", &path, &baggage, &body);
        wait_until_async("the call arrived", async || fake.calls().len() == calls).await;
        drop(connection);
    }
    wait_until_async("both choices are logged while the calls wait", async || {
        gateway.log().matches("feature_flag.evaluation").count() == 2
    })
    .await;

    let ended = gateway.stop();
    let spans = ended.collector.spans();
    let through = spans
        .iter()
        .find(|span| {
            span.kind == SpanKind::Server && span.name == "POST /v2/models/{model_name}/infer"
        })
        .unwrap();
    assert_eq!(through.attributes["error.type"], "cancelled");
    assert_eq!(through.attributes["ml.variant"], "canary");
    let cache = ended.counts("ml.prediction_cache.requests");
    assert_eq!(cache["ml.cache.result=miss ml.variant=canary"], 1);
}
