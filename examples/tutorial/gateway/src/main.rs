//! A gateway in front of a model service: `tutorial-gateway HOST:PORT MODEL_SERVICE_URL`.

use std::error::Error;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the handlers need.
#[derive(Clone)]
struct Gateway {
    client: Client,
    model_service: String,
}

/// The body of `POST /v1/predictions`.
#[derive(Deserialize)]
struct Request {
    model: String,
    data_ids: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(model_service)) = (arguments.next(), arguments.next()) else {
        return Err("usage: tutorial-gateway HOST:PORT MODEL_SERVICE_URL".into());
    };
    let client = Client::new();
    let app = Router::new()
        .route("/v1/predictions", post(predictions))
        .route("/livez", get(|| async { "alive" }))
        .with_state(Gateway {
            client,
            model_service,
        });
    let listener = TcpListener::bind(&listen).await?;
    println!("listening on {listen}");
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped())
        .await?;
    Ok(())
}

/// Answers with one prediction for each data id.
async fn predictions(
    State(gateway): State<Gateway>,
    Json(request): Json<Request>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let outputs = infer(&gateway, &request)
        .await
        .map_err(|error| (StatusCode::BAD_GATEWAY, format!("{error}\n")))?;
    let entries = request.data_ids.iter().enumerate().map(|(row, data_id)| {
        json!({
            "data_id": data_id,
            "label": outputs[0]["data"][row],
            "confidence": outputs[1]["data"][row],
        })
    });
    Ok(Json(json!({ "predictions": entries.collect::<Vec<_>>() })))
}

/// Calls the model service, and returns the outputs of its answer.
async fn infer(gateway: &Gateway, request: &Request) -> Result<Value, reqwest::Error> {
    let url = format!(
        "{}/v2/models/{}/infer",
        gateway.model_service, request.model
    );
    let ids = &request.data_ids;
    let body = json!({
        "inputs": [{ "name": "data_id", "datatype": "BYTES", "shape": [ids.len()], "data": ids }]
    });
    let response = gateway.client.post(url).json(&body).send().await?;
    let mut answer: Value = response.error_for_status()?.json().await?;
    Ok(answer["outputs"].take())
}

/// Waits for Ctrl-C.
async fn stopped() {
    let _ = tokio::signal::ctrl_c().await;
}
