//! Inference as the clients of the protocol send it: JSON, binary tensors, compressed.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use harness::Answer;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::server::{HIGH, LOW, nobody, start};

const PATH: &str = "/v2/models/wine_quality/infer";

fn features() -> Value {
    json!({"name": "features", "shape": [2, 11], "datatype": "FP32", "data": [LOW, HIGH]})
}

#[tokio::test]
async fn json_in_json_out() {
    let service = start(nobody()).await;
    // As the kserve client sends it: with an id, a superfluous model name and parameters that are
    // null.
    let body = json!({"id": "r-1", "model_name": "wine_quality", "parameters": null, "inputs": [features()]});
    let response = service.infer(&body).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(response.headers["content-type"], "application/json");
    let timing = response.headers["server-timing"].to_str().unwrap();
    assert!(
        timing.starts_with("queue;dur=") && timing.contains(", compute;dur="),
        "{timing}"
    );
    let answer = response.json();
    assert_eq!(
        (&answer["id"], &answer["model_name"]),
        (&json!("r-1"), &json!("wine_quality"))
    );
    assert_eq!(answer["model_version"], "1");
    assert_eq!(answer["parameters"]["run_id"].as_str().unwrap().len(), 32);
    let names: Vec<&str> = outputs(&answer)
        .iter()
        .map(|output| output["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["label", "confidence", "probabilities"]);
    assert_eq!(output(&answer, "label")["data"], json!(["low", "high"]));
    let probabilities = numbers(&output(&answer, "probabilities")["data"]);
    let confidences = numbers(&output(&answer, "confidence")["data"]);
    assert_eq!(output(&answer, "probabilities")["shape"], json!([2, 2]));
    assert_eq!(confidences, [probabilities[0], probabilities[3]]);
    assert!((probabilities[0] + probabilities[1] - 1.0).abs() < 1e-5);
}

#[tokio::test]
async fn other_numbers_are_converted_and_nested_data_flattened() {
    let service = start(nobody()).await;
    let expected = output(
        &service.infer(&json!({"inputs": [features()]})).await.json(),
        "label",
    )
    .clone();
    let flat: Vec<f32> = LOW.into_iter().chain(HIGH).collect();
    let input = json!({"name": "features", "shape": [2, 11], "datatype": "FP64", "data": flat});
    assert_eq!(
        output(
            &service.infer(&json!({"inputs": [input]})).await.json(),
            "label"
        ),
        &expected
    );
    let input =
        json!({"name": "features", "shape": [1, 11], "datatype": "INT64", "data": vec![1; 11]});
    assert_eq!(
        service.infer(&json!({"inputs": [input]})).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn only_the_outputs_asked_for_are_sent() {
    let service = start(nobody()).await;
    let body = json!({"inputs": [features()], "outputs": [{"name": "confidence"}]});
    let answer = service.infer(&body).await.json();
    assert_eq!(outputs(&answer).len(), 1);
    assert_eq!(outputs(&answer)[0]["name"], "confidence");
}

/// The body that tritonclient makes of one FP32 array, without a content type.
fn binary_body() -> (usize, Bytes) {
    let head = json!({"id": "req-1", "inputs": [{"name": "features", "shape": [2, 11], "datatype": "FP32",
        "parameters": {"binary_data_size": 88}}], "parameters": {"binary_data_output": true}});
    let mut body = head.to_string().into_bytes();
    let length = body.len();
    body.extend(LOW.into_iter().chain(HIGH).flat_map(f32::to_le_bytes));
    (length, body.into())
}

fn binary_request() -> http::request::Builder {
    Request::post(PATH).header("Inference-Header-Content-Length", binary_body().0)
}

fn assert_binary_answer(response: &Answer, body: &[u8]) {
    assert_eq!(response.status, StatusCode::OK);
    let length = response.headers["inference-header-content-length"]
        .to_str()
        .unwrap();
    let (head, tail) = body.split_at(length.parse().unwrap());
    let head: Value = serde_json::from_slice(head).unwrap();
    assert_eq!(head["id"], "req-1");
    let sizes = outputs(&head)
        .iter()
        .map(|output| output["parameters"]["binary_data_size"].as_u64().unwrap());
    assert_eq!(sizes.collect::<Vec<_>>(), [4 + 3 + 4 + 4, 8, 16]);
    assert_eq!(&tail[..15], b"\x03\0\0\0low\x04\0\0\0high");
    let floats: Vec<[u8; 4]> = tail[15..]
        .chunks_exact(4)
        .map(|four| four.try_into().unwrap())
        .collect();
    assert_eq!(
        [floats[0], floats[1]],
        [floats[2], floats[5]],
        "confidences, then probabilities"
    );
}

#[tokio::test]
async fn binary_in_binary_out() {
    let service = start(nobody()).await;
    let response = service.send(binary_request(), binary_body().1).await;
    assert_binary_answer(&response, &response.body);
}

#[tokio::test]
async fn outputs_can_mix_binary_and_json() {
    let service = start(nobody()).await;
    let body = json!({"inputs": [features()], "outputs": [
        {"name": "label"}, {"name": "confidence", "parameters": {"binary_data": true}}]});
    let response = service.infer(&body).await;
    let length: usize = response.headers["inference-header-content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let head: Value = serde_json::from_slice(&response.body[..length]).unwrap();
    assert_eq!(output(&head, "label")["data"], json!(["low", "high"]));
    assert_eq!(
        output(&head, "confidence")["parameters"]["binary_data_size"],
        8
    );
    assert_eq!(response.body.len(), length + 8);
}

#[tokio::test]
async fn compressed_requests_give_the_length_of_the_plain_json() {
    let service = start(nobody()).await;
    let (_, plain) = binary_body();
    for encoding in ["gzip", "deflate"] {
        let request = binary_request().header("content-encoding", encoding);
        let response = service.send(request, compressed(encoding, &plain)).await;
        assert_binary_answer(&response, &response.body);
    }
}

#[tokio::test]
async fn large_answers_are_compressed_when_the_client_accepts() {
    let service = start(nobody()).await;
    let rows = vec![LOW; 100];
    let input = json!({"name": "features", "shape": [100, 11], "datatype": "FP32", "data": rows});
    let body = Bytes::from(json!({"inputs": [input]}).to_string());
    let plain = service.send(Request::post(PATH), body.clone()).await;
    assert!(plain.headers.get("content-encoding").is_none());
    let packed = service
        .send(Request::post(PATH).header("accept-encoding", "gzip"), body)
        .await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.body.len() < plain.body.len() / 2);
    let unpacked: Value = serde_json::from_slice(&unzip(&packed.body)).unwrap();
    assert_eq!(unpacked["outputs"], plain.json()["outputs"]);
}

#[tokio::test]
async fn a_compressed_binary_answer_splits_after_decompression() {
    let service = start(nobody()).await;
    let head = json!({"inputs": [{"name": "features", "shape": [200, 11], "datatype": "FP32",
        "parameters": {"binary_data_size": 200 * 44}}], "parameters": {"binary_data_output": true}});
    let mut body = head.to_string().into_bytes();
    let length = body.len();
    body.extend(
        std::iter::repeat_n(LOW, 200)
            .flatten()
            .flat_map(f32::to_le_bytes),
    );
    let request = Request::post(PATH)
        .header("inference-header-content-length", length)
        .header("accept-encoding", "gzip");
    let response = service.send(request, body.into()).await;
    assert_eq!(response.headers["content-encoding"], "gzip");
    let plain = unzip(&response.body);
    let length: usize = response.headers["inference-header-content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let head: Value = serde_json::from_slice(&plain[..length]).unwrap();
    assert_eq!(
        output(&head, "label")["parameters"]["binary_data_size"],
        200 * 7
    );
    assert_eq!(plain.len(), length + 200 * 7 + 200 * 4 + 200 * 8);
}

#[tokio::test]
async fn bodies_are_bounded_before_and_after_decompression() {
    let service = start(nobody()).await;
    let large = vec![b' '; (1 << 20) + 1];
    let bomb = compressed("gzip", &large);
    assert!(bomb.len() < 10_000);
    for (request, body) in [
        (Request::post(PATH), Bytes::from(large)),
        (Request::post(PATH).header("content-encoding", "gzip"), bomb),
    ] {
        let response = service.send(request, body).await;
        assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(response.json()["code"], "too_large");
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_decompressed_are_the_clients_fault() {
    let service = start(nobody()).await;
    for encoding in ["gzip", "deflate"] {
        let request = Request::post(PATH).header("content-encoding", encoding);
        let response = service.send(request, Bytes::from_static(b"plain")).await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST);
    }
    let request = Request::post(PATH).header("content-encoding", "br");
    let response = service.send(request, Bytes::from_static(b"plain")).await;
    assert_eq!(response.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_value_that_is_no_number_fails_its_row_only() {
    let service = start(nobody()).await;
    let head = json!({"inputs": [{"name": "features", "shape": [2, 11], "datatype": "FP32",
        "parameters": {"binary_data_size": 88}}], "outputs": [{"name": "label"}, {"name": "confidence"}]});
    let mut body = head.to_string().into_bytes();
    let length = body.len();
    let mut bad = LOW;
    bad[3] = f32::NAN;
    body.extend(bad.into_iter().chain(HIGH).flat_map(f32::to_le_bytes));
    let request = Request::post(PATH).header("inference-header-content-length", length);
    let response = service.send(request, body.into()).await;
    assert_eq!(response.status, StatusCode::OK);
    let answer = response.json();
    assert_eq!(
        output(&answer, "error")["data"],
        json!(["missing_features", ""])
    );
    assert_eq!(output(&answer, "label")["data"], json!(["", "high"]));
    assert_eq!(output(&answer, "confidence")["data"][0], 0.0);
}

fn compressed(encoding: &str, plain: &[u8]) -> Bytes {
    if encoding == "gzip" {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap().into()
    } else {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap().into()
    }
}

fn unzip(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    plain
}

fn outputs(answer: &Value) -> &Vec<Value> {
    answer["outputs"].as_array().unwrap()
}

pub(crate) fn output<'a>(answer: &'a Value, name: &str) -> &'a Value {
    outputs(answer)
        .iter()
        .find(|output| output["name"] == name)
        .unwrap()
}

fn numbers(data: &Value) -> Vec<f64> {
    data.as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}
