//! What the gateway offers: its models, their variants, and whether faults may be asked for.

use std::time::Duration;

use axum::http::{Request, StatusCode};
use bytes::Bytes;
use runtime::without_secrets;
use serde_json::Value;
use telemetry::client::HttpClient;

use super::GatewayAddress;

const TIMEOUT: Duration = Duration::from_secs(3);

/// The choices of the form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choices {
    pub(crate) models: Vec<ModelChoice>,
    pub(crate) faults: bool,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelChoice {
    pub(crate) name: String,
    /// Whether it takes texts; else it takes ids.
    pub(crate) texts: bool,
    pub(crate) variants: Vec<String>,
}

/// Asks the gateway; the error is in words for the page.
pub(super) async fn read(client: &HttpClient, address: &GatewayAddress) -> Result<Choices, String> {
    let base = address.url().map_err(|error| error.to_string())?;
    let models = get(client, &base, "/v1/models").await?;
    let ready = get(client, &base, "/readyz").await?;
    Ok(of(&models, &ready))
}

fn of(models: &Value, ready: &Value) -> Choices {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let model = |model: &Value| ModelChoice {
        name: text(&model["name"]),
        texts: list(&model["inputs"]).iter().any(|input| input == "texts"),
        variants: list(&model["variants"])
            .iter()
            .map(|variant| text(&variant["name"]))
            .collect(),
    };
    let mut models: Vec<ModelChoice> = list(&models["models"]).iter().map(model).collect();
    models.sort_by_key(|model| model.texts);
    Choices {
        models,
        faults: ready["detail"]["faults"].is_string(),
    }
}

async fn get(client: &HttpClient, base: &str, path: &str) -> Result<Value, String> {
    let shown = without_secrets(base);
    let request = Request::get(format!("{base}{path}"))
        .body(Bytes::new())
        .map_err(|_| format!("{shown} is no address of a gateway"))?;
    let answer = client.send(request, TIMEOUT).await.map_err(|error| {
        format!(
            "The gateway at {shown} does not answer: {}",
            runtime::chain(&error)
        )
    })?;
    match answer.status() {
        StatusCode::UNAUTHORIZED => Err(format!(
            "The gateway at {shown} asks for an API key; give its file to the explorer with --gateway-key-file"
        )),
        // A gateway that is not ready says so with the same body.
        StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => serde_json::from_slice(answer.body())
            .map_err(|_| format!("what answers at {shown}{path} is no gateway")),
        status => Err(format!("The gateway at {shown} answers {status} to {path}")),
    }
}
