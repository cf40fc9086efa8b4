//! Proof that clippy refuses every call that `clippy.toml` bans: one function for each, which nothing runs.
//!
//! `expect` turns the absence of the lint into a finding of its own, so that clippy fails when a ban no longer fires.
//! `tests/complete.rs` fails when a ban is missing here.

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, ResponseFuture};
use hyper_util::rt::TokioExecutor;
use reqwest::{Client, Request, RequestBuilder, Response, Result};
use tokio::task::JoinHandle;

/// The client below [`Client`].
type HyperClient = hyper_util::client::legacy::Client<HttpConnector, String>;

/// Bans `hyper_util::client::legacy::Client::builder`.
#[expect(clippy::disallowed_methods, reason = "the ban must fire")]
pub fn hyper_client_builder() -> Builder {
    hyper_util::client::legacy::Client::builder(TokioExecutor::new())
}

/// Bans `hyper_util::client::legacy::Client::get`.
#[expect(clippy::disallowed_methods, reason = "the ban must fire")]
pub fn hyper_get(client: &HyperClient, uri: Uri) -> ResponseFuture {
    hyper_util::client::legacy::Client::get(client, uri)
}

/// Bans `hyper_util::client::legacy::Client::request`.
#[expect(clippy::disallowed_methods, reason = "the ban must fire")]
pub fn hyper_request(client: &HyperClient, request: http::Request<String>) -> ResponseFuture {
    hyper_util::client::legacy::Client::request(client, request)
}

/// Bans `reqwest::Client::new`.
#[expect(clippy::disallowed_methods, reason = "the ban must fire")]
pub fn client() -> Client {
    reqwest::Client::new()
}

/// Bans `reqwest::Client::builder`.
#[expect(clippy::disallowed_methods, reason = "the ban must fire")]
pub fn client_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
}

/// Bans `reqwest::Client::execute`.
#[expect(clippy::disallowed_methods, reason = "the ban must fire")]
pub async fn execute(client: &Client, request: Request) -> Result<Response> {
    reqwest::Client::execute(client, request).await
}

/// Bans `reqwest::RequestBuilder::send`.
#[expect(clippy::disallowed_methods, reason = "the ban must fire")]
pub async fn send(request: RequestBuilder) -> Result<Response> {
    reqwest::RequestBuilder::send(request).await
}

/// Bans `reqwest::blocking::Client::new`.
#[expect(clippy::disallowed_methods, reason = "the ban must fire")]
pub fn blocking_client() -> reqwest::blocking::Client {
    reqwest::blocking::Client::new()
}

/// Bans `reqwest::blocking::Client::builder`.
#[expect(clippy::disallowed_methods, reason = "the ban must fire")]
pub fn blocking_client_builder() -> reqwest::blocking::ClientBuilder {
    reqwest::blocking::Client::builder()
}

/// Bans `tokio::spawn`.
#[expect(clippy::disallowed_methods, reason = "the ban must fire")]
pub fn spawn() -> JoinHandle<()> {
    tokio::spawn(async {})
}

/// The same function by another path: the ban of `tokio::spawn` covers it.
#[expect(clippy::disallowed_methods, reason = "the ban must fire")]
pub fn task_spawn() -> JoinHandle<()> {
    tokio::task::spawn(async {})
}

/// Bans `tokio::task::spawn_blocking`.
#[expect(clippy::disallowed_methods, reason = "the ban must fire")]
pub fn spawn_blocking() -> JoinHandle<()> {
    tokio::task::spawn_blocking(|| ())
}
