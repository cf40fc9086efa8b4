//! The service that the tests start as a child: the smallest one that uses all of `telemetry` and
//! `runtime`.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use clap::Parser;
use http::{HeaderMap, Request, StatusCode};
use runtime::{
    App, BodyRules, Deadline, Health, PartInfo, ProcessOptions, Refusal, Refused, ServeError,
    Shutdown, TlsClientOptions,
};
use serde_json::{Value, json};
use telemetry::client::HttpClient;
use telemetry::server::{Options, RequestFailure};
use telemetry::{Span, WithSpan, db, task};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

const PART: PartInfo = PartInfo {
    name: "probe",
    version: "1.2.3",
    listen_flag: "--listen",
    traced: true,
};

const BODIES: BodyRules = BodyRules {
    max_bytes: 100_000,
    decode: true,
};
/// More than the kernel's buffers of a connection take.
const LARGE: usize = 32 << 20;

#[derive(Parser, Debug)]
struct Config {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[arg(long)]
    allow_faults: bool,
    /// Panic instead of returning, once everything is drained.
    #[arg(long)]
    break_down: bool,
    #[command(flatten)]
    client: TlsClientOptions,
    #[command(flatten)]
    process: ProcessOptions,
}

/// Not a test: what a child process of a test runs.
#[test]
#[ignore = "the other tests start it as a process of its own"]
fn probe() {
    let Ok(arguments) = std::env::var("PROBE") else {
        return;
    };
    let config = Config::parse_from(["probe"].into_iter().chain(arguments.split_whitespace()));
    let faults = config.allow_faults;
    let http = config.client.client().expect("a client");
    let options = config.process.clone();
    let break_down = config.break_down;
    let code = runtime::run(
        &PART,
        config.listen,
        &config.process,
        move |listener, shutdown| async move {
            let outcome = run(options, http, faults, listener, shutdown).await;
            assert!(!break_down, "the service breaks down");
            outcome
        },
    );
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

async fn run(
    options: ProcessOptions,
    http: HttpClient,
    allow_faults: bool,
    listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let health = Health::new();
    let address = listener.local_addr().expect("an address");
    let traced = Options {
        service: PART.name,
        allow_faults,
        fault_response: plain,
    };
    let (stop, seen) = (shutdown.clone(), health.clone());
    let routes = Router::new()
        .route(
            "/items/{id}",
            get(|Path(id): Path<String>| async move { id }),
        )
        .route("/work", get(work))
        .route("/twice", get(twice))
        .route("/echo", get(echo))
        .route("/body", post(|body: Bytes| async move { body }))
        .route("/large", get(|| async { vec![b'x'; LARGE] }))
        .route(
            "/call",
            get(move |query, headers| call(http.clone(), query, headers)),
        )
        .route("/fail", get(fail))
        .route(
            "/plain-500",
            get(|| async { StatusCode::INTERNAL_SERVER_ERROR }),
        )
        .route("/bad", get(|| async { StatusCode::BAD_REQUEST }))
        .route("/panic", get(|| async { panic_now() }))
        .route("/hang", get(hang))
        .route(
            "/deadline",
            get(|Extension(deadline): Extension<Deadline>| async move {
                deadline.remaining().as_millis().to_string()
            }),
        )
        .route(
            "/until-refused",
            get(move || until_refused(stop.clone(), seen.clone(), address)),
        )
        .layer(runtime::limit_layer(&options, BODIES, refuse))
        .layer(telemetry::server::layer(traced));
    health.ready(true);
    runtime::serve(
        listener,
        App::new(health.routes().merge(routes), refuse, Some(traced)),
        health,
        &options,
        shutdown,
    )
    .await
}

fn plain(status: StatusCode, text: &str) -> Response {
    (status, text.to_owned()).into_response()
}

fn refuse(_: &Refused, refusal: Refusal) -> Response {
    plain(refusal.status(), refusal.code())
}

/// A span, a task, blocking work in a database span, and a log line in each.
async fn work() -> &'static str {
    let span = Span::start("work", vec![telemetry::KeyValue::new("probe.rows", 3)]);
    async {
        tracing::info!(name: "probe.working", { "probe.rows" = 3 }, "works on 3 rows");
        let inner = task::spawn(async {
            let call = db::start(db::Operation {
                system: "sqlite",
                operation: "SELECT",
                collection: "rows".to_owned(),
                namespace: None,
            });
            let read = call.in_scope(|| {
                task::spawn_blocking(|| tracing::info!(name: "probe.reading", "reads"))
            });
            read.await.expect("no panic");
            call.fail(&io::Error::other("locked"), "SQLITE_BUSY");
        });
        inner.await.expect("no panic");
    }
    .with_span(&span)
    .await;
    "done"
}

async fn twice() -> &'static str {
    telemetry::current().set("ml.variant", "first");
    telemetry::current().set("ml.variant", "second");
    "done"
}

async fn echo(headers: HeaderMap) -> Json<Value> {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or("?"))));
    Json(Value::Object(headers.collect()))
}

#[derive(serde::Deserialize)]
struct Call {
    to: String,
    #[serde(default = "ten_seconds")]
    timeout: u64,
}

fn ten_seconds() -> u64 {
    10_000
}

async fn call(http: HttpClient, Query(call): Query<Call>, _: HeaderMap) -> String {
    let request = Request::get(&call.to)
        .body(Bytes::new())
        .expect("a request");
    match http
        .send(request, Duration::from_millis(call.timeout))
        .await
    {
        Ok(response) if response.status() == StatusCode::OK => {
            String::from_utf8_lossy(response.body()).into_owned()
        }
        Ok(response) => response.status().as_str().to_owned(),
        Err(error) => error.error_type().to_owned(),
    }
}

/// An error with a cause.
#[derive(Debug, thiserror::Error)]
#[error("the shelf is empty")]
struct Empty(#[source] io::Error);

async fn fail() -> Response {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "try later");
    response.extensions_mut().insert(RequestFailure::new(
        Empty(io::Error::other("nobody filled it")),
        "shelf_empty",
    ));
    response
}

#[expect(clippy::panic, reason = "the point of the route")]
fn panic_now() -> StatusCode {
    panic!("the handler broke")
}

async fn hang() {
    tracing::info!(name: "probe.hanging", "hangs");
    std::future::pending::<()>().await;
}

/// Waits until the listener refuses connections, and answers with the readiness at that time.
async fn until_refused(stop: Shutdown, health: Health, address: SocketAddr) -> String {
    tracing::info!(name: "probe.hanging", "waits for the stop");
    stop.wait().await;
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let request = Request::get("/readyz")
        .body(axum::body::Body::empty())
        .expect("a request");
    let ready = health.routes().oneshot(request).await.expect("infallible");
    format!("{} {}", ready.status().as_u16(), health.is_ready())
}
