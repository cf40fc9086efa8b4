//! Drift as a client of the service reads it: natural drift of texts, errors, and versions.

use bytes::Bytes;
use harness::wait_until_async;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::{Service, nobody, start};
use crate::texts;

const DRIFT: &str = "/v2/models/text_sentiment/drift";

/// Ids and texts of a data set with the columns `data_id`, `rating` and `text`.
fn snippets(folder: &str) -> Vec<(String, f64, String)> {
    let path = format!(
        "{}/../data/{folder}/reviews.csv",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut reader = csv::Reader::from_path(path).unwrap();
    let rows = reader.records().map(|row| {
        let row = row.unwrap();
        (
            row[0].to_owned(),
            row[1].parse().unwrap(),
            row[2].to_owned(),
        )
    });
    rows.collect()
}

/// The product reviews that the training holds out: one of five, by the hash of seed and review.
fn held_out() -> Vec<String> {
    let is_held_out = |id: &str| {
        let review = id.split('_').next().unwrap();
        let mut hasher = Sha256::new();
        hasher.update(42_u64.to_le_bytes());
        hasher.update(review.as_bytes());
        let digest = hasher.finalize();
        u64::from_be_bytes(*digest.first_chunk().unwrap()) % 5 == 0
    };
    let rows = snippets("product_reviews").into_iter();
    let rows = rows.filter(|(id, rating, _)| rating.abs() > 0.5 && is_held_out(id));
    rows.map(|(_, _, text)| text).collect()
}

async fn send_window(service: &Service, texts: &[String]) {
    assert_eq!(texts.len(), 200);
    for texts in texts.chunks(50) {
        let answer = texts::infer(service, &texts::body(&json!(texts))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

async fn read(service: &Service, path: &str) -> Value {
    let answer = service.get(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.text()).unwrap()
}

/// The only version after so many windows.
async fn after(service: &Service, windows: u64) -> Value {
    let version = async || read(service, DRIFT).await["versions"][0].take();
    let ended = async || version().await["window"]["number"] == windows;
    wait_until_async("a window ends", ended).await;
    version().await
}

#[tokio::test]
async fn movie_reviews_are_drift_for_a_model_of_product_reviews() {
    let service = texts::service().await;
    let before = &read(&service, DRIFT).await["versions"][0];
    assert_eq!(
        (&before["window"], &before["waiting_rows"]),
        (&Value::Null, &json!(0))
    );

    let held_out = held_out();
    send_window(&service, &held_out[..200]).await;
    send_window(&service, &held_out[200..400]).await;
    let version = after(&service, 2).await;
    assert_eq!(version["drift_detected"], false, "{version}");

    let movies: Vec<String> = snippets("movie_reviews")
        .into_iter()
        .map(|row| row.2)
        .collect();
    send_window(&service, &movies[..200]).await;
    send_window(&service, &movies[200..400]).await;
    let version = after(&service, 4).await;
    assert_eq!(version["drift_detected"], true, "{version}");
    let scores = version["window"]["scores"].as_array().unwrap();
    let unknown = scores
        .iter()
        .find(|score| score["feature"] == "unknown_share" && score["method"] == "ks_d");
    assert_eq!(unknown.unwrap()["drift_detected"], true, "{version}");
}

#[tokio::test]
async fn missing_and_far_values_count_with_rows_that_have_no_prediction() {
    let service = start(nobody()).await;
    let far = vec![1e6; 11];
    let rows: Vec<Vec<f64>> = vec![far; 400];
    let body = json!({"inputs": [{"name": "features", "shape": [400, 11], "datatype": "FP32", "data": rows}]});
    assert_eq!(service.infer(&body).await.status, 200);
    let path = "/v2/models/wine_quality/drift";
    let number = async || read(&service, path).await["versions"][0]["window"]["number"] == 1;
    wait_until_async("a window ends", number).await;
    let body = read(&service, path).await;
    assert_eq!(
        (
            &body["model_name"],
            &body["window_rows"],
            &body["windows_per_false_alarm"]
        ),
        (&json!("wine_quality"), &json!(200), &json!(1000))
    );
    let scores = body["versions"][0]["window"]["scores"].as_array().unwrap();
    let outside: Vec<_> = scores
        .iter()
        .filter(|score| score["method"] == "out_of_range_share")
        .collect();
    assert_eq!(outside.len(), 11);
    for score in outside {
        assert_eq!(
            (&score["score"], &score["drift_detected"]),
            (&json!(1.0), &json!(true))
        );
    }
}

#[tokio::test]
async fn an_unknown_model_and_another_method_are_refused() {
    let service = start(nobody()).await;
    let answer = service.get("/v2/models/nobody/drift").await;
    assert_eq!(answer.status, 404, "{answer:?}");
    let post = http::Request::post("/v2/models/wine_quality/drift");
    assert_eq!(service.send(post, Bytes::new()).await.status, 405);
}
