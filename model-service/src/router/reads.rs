//! The reads: health, metadata of the server and its models, the repository index.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use protocol::oip::{
    Datatype, Live, ModelList, ModelMetadata, ModelReady, ModelTraining, Ready,
    RepositoryIndexEntry, RepositoryIndexRequest, ServerMetadata, TensorMetadata,
};
use runtime::Health;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use crate::PART;
use crate::error::RequestError;
use crate::repository::{Loaded, Manifest, ModelRepository, ModelVersions};

/// The model and the version in a path.
#[derive(Debug, Deserialize)]
pub(super) struct ModelPath {
    pub(super) model_name: String,
    model_version: Option<String>,
}

pub(super) type PathResult = Result<Path<ModelPath>, PathRejection>;

const PLATFORM: &str = "candle_safetensors";

impl ModelPath {
    /// A path that is not UTF-8 is unknown, because names of models are.
    pub(super) fn of(path: PathResult) -> Result<Self, RequestError> {
        path.map(|Path(path)| path)
            .map_err(|_| RequestError::UnknownPath)
    }

    /// `None` for the highest version. An empty version means the same: tritonclient sends it by
    /// default.
    pub(super) fn version(&self) -> Option<&str> {
        self.model_version
            .as_deref()
            .filter(|version| !version.is_empty())
    }

    fn find(&self, repository: &ModelRepository) -> Result<Arc<Loaded>, RequestError> {
        repository
            .find(&self.model_name, self.version())
            .map_err(RequestError::NotServed)
    }
}

/// `GET /v2/health/live` and `GET /v2/health/ready`, outside of tracing and limits.
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

pub(super) async fn list(State(repository): State<Arc<ModelRepository>>) -> Json<ModelList> {
    let models = repository.models();
    let served = models
        .iter()
        .filter(|(_, versions)| !versions.is_unloaded());
    Json(ModelList {
        models: served.map(|(name, _)| name.clone()).collect(),
    })
}

pub(super) async fn ready(
    State(repository): State<Arc<ModelRepository>>,
    path: PathResult,
) -> Result<Json<ModelReady>, RequestError> {
    let loaded = ModelPath::of(path)?.find(&repository)?;
    Ok(Json(ModelReady {
        name: loaded.manifest.name.clone(),
        ready: true,
    }))
}

pub(super) async fn metadata(
    State(repository): State<Arc<ModelRepository>>,
    path: PathResult,
) -> Result<Json<ModelMetadata>, RequestError> {
    let path = ModelPath::of(path)?;
    let loaded = path.find(&repository)?;
    let models = repository.models();
    let model = models.get(&path.model_name);
    let versions = model.into_iter().flat_map(ModelVersions::ready);
    let (inputs, outputs) = tensors(&loaded);
    Ok(Json(ModelMetadata {
        name: path.model_name.clone(),
        versions: versions
            .map(|version| version.manifest.version.clone())
            .collect(),
        current_version: model
            .and_then(ModelVersions::chosen)
            .map(|version| version.to_string()),
        platform: PLATFORM.to_owned(),
        inputs,
        outputs,
        training: Some(training(&loaded.manifest)),
    }))
}

fn training(manifest: &Manifest) -> ModelTraining {
    ModelTraining {
        run_id: manifest.run_id.clone(),
        classes: manifest.classes.clone(),
        validation_accuracy: manifest.metrics.validation_accuracy,
        validation_rmse: manifest.metrics.validation_rmse,
    }
}

/// The part of Triton's model configuration that Triton's own tools need.
pub(super) async fn config(
    State(repository): State<Arc<ModelRepository>>,
    path: PathResult,
) -> Result<Json<Value>, RequestError> {
    let loaded = ModelPath::of(path)?.find(&repository)?;
    let (inputs, outputs) = tensors(&loaded);
    Ok(Json(json!({
        "name": loaded.manifest.name,
        "platform": PLATFORM,
        "backend": "candle",
        "version_policy": {"all": {}},
        // 0: the batch dimension is part of `dims`, as in the metadata.
        "max_batch_size": 0,
        "input": inputs.iter().map(triton_tensor).collect::<Vec<_>>(),
        "output": outputs.iter().map(triton_tensor).collect::<Vec<_>>(),
    })))
}

/// Refreshes the repository and lists its versions.
pub(super) async fn index(
    State((repository, health)): State<(Arc<ModelRepository>, Health)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Vec<RepositoryIndexEntry>>, RequestError> {
    let body = body::whole(body)?;
    let request: RepositoryIndexRequest = match &body[..] {
        b"" => RepositoryIndexRequest::default(),
        body => protocol::object(body).map_err(|_| {
            RequestError::Input("the body is not {\"ready\": true|false}".to_owned())
        })?,
    };
    super::refresh(&repository, &health)
        .await
        .map_err(RequestError::Repository)?;
    let mut entries = Vec::new();
    for (name, versions) in repository.models().iter() {
        let entry = |version: String, state: &str, reason: &str| RepositoryIndexEntry {
            name: name.clone(),
            version: Some(version),
            state: state.to_owned(),
            reason: reason.to_owned(),
        };
        for loaded in versions.ready() {
            entries.push(entry(loaded.manifest.version.clone(), "READY", ""));
        }
        if !request.ready {
            for (version, reason) in versions.unavailable() {
                entries.push(entry(version.to_string(), "UNAVAILABLE", reason));
            }
            for version in versions.idle() {
                entries.push(entry(version.to_string(), "UNAVAILABLE", "unloaded"));
            }
        }
    }
    Ok(Json(entries))
}

/// The unavailable versions and models in one line, for the readiness detail.
pub(super) fn unavailable(models: &BTreeMap<String, ModelVersions>) -> Option<String> {
    let mut lines = Vec::new();
    for (name, versions) in models {
        for (version, reason) in versions.unavailable() {
            lines.push(format!("{name} version {version}: {reason}"));
        }
        if versions.is_unloaded() {
            lines.push(format!("{name} is unloaded"));
        } else if versions.current().is_none() {
            lines.push(format!("{name} does not answer: {}", versions.reason()));
        }
    }
    (!lines.is_empty()).then(|| lines.join("; "))
}

fn triton_tensor(tensor: &TensorMetadata) -> Value {
    let data_type = match tensor.datatype {
        Datatype::Bytes => "TYPE_STRING".to_owned(),
        other => format!("TYPE_{other}"),
    };
    json!({"name": tensor.name, "data_type": data_type, "dims": tensor.shape})
}

/// The inputs and outputs of a model. A request has one of the inputs.
fn tensors(loaded: &Loaded) -> (Vec<TensorMetadata>, Vec<TensorMetadata>) {
    let manifest = &loaded.manifest;
    let tensor = |name: &str, datatype, shape: &[i64]| TensorMetadata {
        name: name.to_owned(),
        datatype,
        shape: shape.to_vec(),
    };
    let size = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let inputs = if manifest.text.is_some() {
        vec![tensor("text", Datatype::Bytes, &[-1])]
    } else {
        vec![
            tensor("data_id", Datatype::Bytes, &[-1]),
            tensor(
                "features",
                Datatype::Fp32,
                &[-1, size(manifest.features.len())],
            ),
        ]
    };
    if manifest.regression.is_some() {
        return (inputs, vec![tensor("value", Datatype::Fp32, &[-1])]);
    }
    if let Some(width) = manifest.embedding() {
        let embedding = tensor("embedding", Datatype::Fp32, &[-1, size(width)]);
        return (inputs, vec![embedding]);
    }
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
