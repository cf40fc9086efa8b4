//! Views that are declared while the feature store runs.

use serde_json::{Value, json};

use crate::server::{NOW, Server};

const IRIS: &str = r#"
[[feature_view]]
name = "iris_features"
join_keys = ["flower"]
features = [{ name = "petal", dtype = "float64" }, { name = "colour", dtype = "string" }]
"#;

fn ask(features: &[&str]) -> Value {
    json!({"features": features, "entities": {"flower": ["f1"]}})
}

async fn status(server: &Server, request: &Value) -> u16 {
    let body = request.to_string();
    let answer = server.post("/get-online-features", body.as_bytes()).await;
    answer.status
}

#[tokio::test]
async fn a_view_that_comes_is_served_by_the_next_request_and_stays_after_a_restart() {
    let mut server = Server::start().await;
    let both = ask(&["iris_features:petal", "iris_features:colour"]);
    assert_eq!(status(&server, &both).await, 404);
    server.declare("iris.toml", IRIS);
    let df = json!({"flower": ["f1"], "petal": [1.5], "colour": ["red"], "event_timestamp": [NOW]});
    server.write("iris_features", df).await;
    let answer = server.lookup(both.clone()).await;
    assert_eq!(answer["results"][1]["values"], json!([1.5]), "{answer}");
    assert_eq!(answer["results"][2]["values"], json!(["red"]), "{answer}");

    // A changed declaration: one more feature, which no row has yet.
    let more = IRIS.replace(
        r#"{ name = "petal""#,
        r#"{ name = "sepal", dtype = "float64" }, { name = "petal""#,
    );
    server.declare("iris.toml", &more);
    let answer = server.lookup(ask(&["iris_features:sepal"])).await;
    assert_eq!(answer["results"][1]["statuses"], json!(["NULL_VALUE"]));
    let answer = server.lookup(both.clone()).await;
    assert_eq!(answer["results"][2]["values"], json!(["red"]), "{answer}");

    server.restart_with(crate::server::VIEWS).await;
    let answer = server.lookup(both).await;
    assert_eq!(answer["results"][1]["values"], json!([1.5]), "{answer}");
}

#[tokio::test]
async fn a_file_that_is_wrong_costs_its_own_views_only() {
    let server = Server::start().await;
    server.declare("broken.toml", "[[feature_view]]\nname = 3");
    server.declare("taken.toml", &IRIS.replace("iris_features", "Driver_Stats"));
    server.declare("iris.toml", IRIS);
    assert_eq!(status(&server, &ask(&["iris_features:petal"])).await, 200);
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status, 200);
    let detail = ready.text();
    for expected in [
        "broken.toml",
        "taken.toml: view Driver_Stats is declared elsewhere",
    ] {
        assert!(detail.contains(expected), "{expected}: {detail}");
    }
}
