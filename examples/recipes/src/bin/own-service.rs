//! An axum service of one's own with `telemetry/`: docs/recipes/own-service.md.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{Request, StatusCode};
use telemetry::client::HttpClient;
use telemetry::{KeyValue, Settings, Span, WithSpan, server};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Telemetry is set up before Tokio's threads start, and flushed after they have ended.
fn main() -> Result<()> {
    let guard = telemetry::init(&Settings::from_env("orders", env!("CARGO_PKG_VERSION")))?;
    let outcome = serve();
    guard.shutdown(Duration::from_secs(2));
    outcome
}

#[tokio::main]
async fn serve() -> Result<()> {
    let address = std::env::var("ORDERS_LISTEN").unwrap_or_else(|_| "127.0.0.1:8002".to_owned());
    let listener = TcpListener::bind(&address).await.context(address)?;
    let stock = std::env::var("STOCK_URL").unwrap_or_else(|_| "http://127.0.0.1:8002".to_owned());
    tracing::info!(name: "server.listening", { url = format!("http://{}", listener.local_addr()?) }, "listening");
    let client = HttpClient::new()?;
    let app = Router::new()
        .route("/orders/{id}", get(order))
        .route("/stock/{item}", get(in_stock))
        .layer(server::layer(server::Options {
            service: "orders",
            allow_faults: false,
            fault_response: |status, text| (status, text.to_owned()).into_response(),
        }))
        // Outside of the layer: a probe every second would be most of the traces.
        .route("/livez", get(|| async { "alive" }))
        .with_state(Shop { client, stock });
    let mut stop = signal(SignalKind::terminate())?;
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(async move {
        tokio::select! {
            _ = stop.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    })
    .await?;
    Ok(())
}

#[derive(Clone)]
struct Shop {
    client: HttpClient,
    stock: String,
}

async fn order(State(shop): State<Shop>, Path(id): Path<u32>) -> Result<String, Failure> {
    // On the SERVER span, which is the current one here.
    telemetry::current().set("order.id", i64::from(id));
    let span = Span::start("price order", vec![KeyValue::new("order.items", 1)]);
    let price = async { id % 100 }.with_span(&span).await;
    drop(span);
    let request = Request::get(format!("{}/stock/wine", shop.stock)).body(Bytes::new())?;
    let answer = shop.client.send(request, Duration::from_secs(1)).await?;
    tracing::info!(name: "order.priced", { order.id = id, order.price = price }, "an order has a price");
    Ok(format!(
        "order {id}: {price}.00, {}\n",
        String::from_utf8_lossy(answer.body())
    ))
}

async fn in_stock(Path(item): Path<String>) -> String {
    format!("{item} is in stock")
}

/// Anything that fails: 500 for the client, and the error with its causes for the trace.
struct Failure(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the order cannot be answered\n",
        )
            .into_response();
        let error: Box<dyn std::error::Error + Send + Sync> = self.0.into();
        let failure = server::RequestFailure::new(std::io::Error::other(error), "order_failed");
        response.extensions_mut().insert(failure);
        response
    }
}
