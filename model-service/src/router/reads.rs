//! What a client can ask about the server and its models.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::HeaderMap;
use protocol::oip::{
    Datatype, Live, ModelList, ModelMetadata, ModelReady, Ready, RepositoryIndexEntry,
    RepositoryIndexRequest, ServerMetadata, TensorMetadata,
};
use runtime::Health;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use crate::PART;
use crate::error::RequestError;
use crate::repository::{Catalog, Entry, Loaded};

/// A model and perhaps its version, from the address.
#[derive(Debug, Deserialize)]
pub(super) struct ModelPath {
    pub(super) model_name: String,
    model_version: Option<String>,
}

type PathResult = Result<Path<ModelPath>, PathRejection>;

const PLATFORM: &str = "candle_safetensors";

impl ModelPath {
    /// A path that is not text names no model that there could be.
    pub(super) fn of(path: PathResult) -> Result<Self, RequestError> {
        path.map(|Path(path)| path)
            .map_err(|_| RequestError::NoRoute)
    }

    /// `None` is the highest version; so is the empty text, which is tritonclient's default.
    pub(super) fn version(&self) -> Option<&str> {
        self.model_version
            .as_deref()
            .filter(|version| !version.is_empty())
    }

    fn find(&self, catalog: &Catalog) -> Result<Arc<Loaded>, RequestError> {
        let found = catalog.find(&self.model_name, self.version());
        found.map_err(RequestError::NotServed)
    }
}

/// `GET /v2/health/live` and `GET /v2/health/ready`, which stay outside of tracing and limits.
pub(super) fn health_routes(health: Health) -> Router {
    let ready = async move || match (health.is_ready(), health.is_draining()) {
        (true, _) => Ok(Json(Ready {
            ready: true,
            live: true,
        })),
        (false, true) => Err(RequestError::Unavailable("draining")),
        (false, false) => Err(RequestError::Unavailable("no model is ready")),
    };
    Router::new()
        .route(
            "/v2/health/live",
            get(|| async { Json(Live { live: true }) }),
        )
        .route("/v2/health/ready", get(ready))
}

pub(super) async fn server() -> Json<ServerMetadata> {
    Json(ServerMetadata {
        name: PART.name.to_owned(),
        version: PART.version.to_owned(),
        extensions: ["binary_tensor_data", "parameters", "model_repository"]
            .map(str::to_owned)
            .to_vec(),
    })
}

pub(super) async fn list(State(catalog): State<Arc<Catalog>>) -> Json<ModelList> {
    Json(ModelList {
        models: catalog.models().keys().cloned().collect(),
    })
}

pub(super) async fn ready(
    State(catalog): State<Arc<Catalog>>,
    path: PathResult,
) -> Result<Json<ModelReady>, RequestError> {
    let loaded = ModelPath::of(path)?.find(&catalog)?;
    Ok(Json(ModelReady {
        name: loaded.manifest.name.clone(),
        ready: true,
    }))
}

pub(super) async fn metadata(
    State(catalog): State<Arc<Catalog>>,
    path: PathResult,
) -> Result<Json<ModelMetadata>, RequestError> {
    let path = ModelPath::of(path)?;
    let loaded = path.find(&catalog)?;
    let models = catalog.models();
    let versions = models
        .get(&path.model_name)
        .into_iter()
        .flat_map(Entry::versions);
    let (inputs, outputs) = tensors(&loaded);
    Ok(Json(ModelMetadata {
        name: path.model_name.clone(),
        versions: versions
            .map(|version| version.manifest.version.clone())
            .collect(),
        platform: PLATFORM.to_owned(),
        inputs,
        outputs,
    }))
}

/// As much of Triton's model configuration as its own tools need to start.
pub(super) async fn config(
    State(catalog): State<Arc<Catalog>>,
    path: PathResult,
) -> Result<Json<Value>, RequestError> {
    let loaded = ModelPath::of(path)?.find(&catalog)?;
    let (inputs, outputs) = tensors(&loaded);
    let describe = |tensors: Vec<TensorMetadata>| {
        let describe = |tensor: TensorMetadata| {
            let data_type = match tensor.datatype {
                Datatype::Bytes => "TYPE_STRING".to_owned(),
                other => format!("TYPE_{other}"),
            };
            json!({"name": tensor.name, "data_type": data_type, "dims": tensor.shape})
        };
        tensors.into_iter().map(describe).collect::<Vec<_>>()
    };
    Ok(Json(json!({
        "name": loaded.manifest.name,
        "platform": PLATFORM,
        "backend": "candle",
        "version_policy": {"all": {}},
        // 0: the batch dimension is part of `dims`, as in the metadata.
        "max_batch_size": 0,
        "input": describe(inputs),
        "output": describe(outputs),
    })))
}

/// Looks at the folder again and lists what is there.
pub(super) async fn index(
    State((catalog, health)): State<(Arc<Catalog>, Health)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Vec<RepositoryIndexEntry>>, RequestError> {
    let body = body::decoded(&headers, body)?;
    let asked: RepositoryIndexRequest = match &body[..] {
        b"" => RepositoryIndexRequest::default(),
        body => protocol::object(body).map_err(|_| {
            RequestError::Input("the body is not {\"ready\": true|false}".to_owned())
        })?,
    };
    super::refresh(&catalog, &health)
        .await
        .map_err(RequestError::Repository)?;
    let mut entries = Vec::new();
    for (name, entry) in catalog.models().iter() {
        let line = |version: String, state: &str, reason: &str| RepositoryIndexEntry {
            name: name.clone(),
            version: Some(version),
            state: state.to_owned(),
            reason: reason.to_owned(),
        };
        entries.extend(
            entry
                .versions()
                .map(|good| line(good.manifest.version.clone(), "READY", "")),
        );
        if !asked.ready {
            let broken = entry.broken();
            entries.extend(
                broken.map(|(version, reason)| line(version.to_string(), "UNAVAILABLE", reason)),
            );
        }
    }
    Ok(Json(entries))
}

/// What is wrong in the repository, in one line for the readiness detail.
pub(super) fn broken(models: &BTreeMap<String, Entry>) -> Option<String> {
    let of_model = |(name, entry): (&String, &Entry)| {
        let broken = entry
            .broken()
            .map(|(version, reason)| format!("{name} version {version}: {reason}"));
        broken.collect::<Vec<_>>()
    };
    let all: Vec<String> = models.iter().flat_map(of_model).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Inputs and outputs of a model. A request gives one of the inputs.
fn tensors(loaded: &Loaded) -> (Vec<TensorMetadata>, Vec<TensorMetadata>) {
    let manifest = &loaded.manifest;
    let tensor = |name: &str, datatype, shape: &[i64]| TensorMetadata {
        name: name.to_owned(),
        datatype,
        shape: shape.to_vec(),
    };
    let size = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let inputs = vec![
        tensor("data_id", Datatype::Bytes, &[-1]),
        tensor(
            "features",
            Datatype::Fp32,
            &[-1, size(manifest.features.len())],
        ),
    ];
    let outputs = vec![
        tensor("label", Datatype::Bytes, &[-1]),
        tensor("confidence", Datatype::Fp32, &[-1]),
        tensor(
            "probabilities",
            Datatype::Fp32,
            &[-1, size(manifest.classes.len())],
        ),
    ];
    (inputs, outputs)
}
