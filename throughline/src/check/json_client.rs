//! Requests with JSON in both directions, and errors that say which option names the server.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::Value;
use telemetry::client::HttpClient;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one server.
pub(crate) struct JsonClient {
    http: HttpClient,
    url: String,
    /// Such as "Jaeger", and the option with its address.
    server: &'static str,
    option: &'static str,
    authorization: Option<HeaderValue>,
}

impl JsonClient {
    /// `key_variable` is the variable with an API key, if the server may want one.
    pub(crate) fn new(
        url: &str,
        (server, option): (&'static str, &'static str),
        key_variable: Option<&str>,
    ) -> anyhow::Result<Self> {
        let key = key_variable.map(read_key).transpose()?.flatten();
        let authorization = key.as_deref().map(api_key).transpose()?;
        Ok(Self {
            http: crate::client::http()?,
            url: url.trim_end_matches('/').to_owned(),
            server,
            option,
            authorization,
        })
    }

    /// The answer to a GET; `None` if there is nothing at the path.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Option<Bytes>> {
        self.exchange(Method::GET, path, None).await
    }

    /// The answer to a POST; `None` if there is nothing at the path.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Option<Value>> {
        let answer = self.exchange(Method::POST, path, Some(body)).await?;
        answer.map(|answer| self.parse(&answer)).transpose()
    }

    /// The body of an answer as JSON.
    pub(crate) fn parse(&self, body: &[u8]) -> anyhow::Result<Value> {
        serde_json::from_slice(body)
            .with_context(|| format!("the answer of {} is not JSON", self.server))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Option<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = match body {
            None => request.body(Bytes::new())?,
            Some(body) => request
                .header(CONTENT_TYPE, "application/json")
                .body(Bytes::from(body.to_string()))?,
        };
        let answer = self.http.send(request, TIMEOUT).await.with_context(|| {
            format!(
                "no answer from {}; name another with {}",
                self.server, self.option
            )
        })?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(answer.into_body())),
            status => bail!(
                "{} answers {status} to {path}: {}",
                self.server,
                String::from_utf8_lossy(answer.body())
            ),
        }
    }
}

/// The value of a variable, or of the file that the same variable with `_FILE` names.
fn read_key(variable: &str) -> anyhow::Result<Option<String>> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(key) = set(variable) {
        return Ok(Some(key));
    }
    let file = set(&format!("{variable}_FILE"));
    let key = file.map(|file| {
        std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {file}, which {variable}_FILE names"))
    });
    key.transpose()
}

fn api_key(key: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("ApiKey {}", key.trim()))
        .context("the API key has characters that no key has")?;
    value.set_sensitive(true);
    Ok(value)
}
