//! A service in this process, and a stand-in for the feature store that can be made to fail.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use harness::{Answer, send_async};
use http::{Request, StatusCode};
use model_service::Config;
use model_service::training::{FEATURES, TrainOptions, TrainReport, train};
use runtime::{ProcessOptions, Shutdown, Trigger};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A service on a port of its own; it stops when this is dropped.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) models: PathBuf,
    _trigger: Trigger,
    _folder: TempDir,
}

pub(crate) const DATA: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../data/wine_quality/winequality-red.csv"
);

/// Trains a version for a few epochs.
pub(crate) fn train_into(models: &Path) -> TrainReport {
    let mut options = TrainOptions::new(DATA, models);
    options.hyperparameters.epochs = 3;
    train(&options).unwrap()
}

/// One trained version for all tests.
fn trained() -> &'static Path {
    static MODELS: OnceLock<TempDir> = OnceLock::new();
    let folder = MODELS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        train_into(folder.path());
        folder
    });
    folder.path()
}

/// A service with one version of `wine_quality`.
pub(crate) async fn start(feature_store: SocketAddr) -> Service {
    start_with(feature_store, |models| {
        let version = models.join("wine_quality/1");
        std::fs::create_dir_all(&version).unwrap();
        for file in ["manifest.json", "model.safetensors"] {
            std::fs::copy(
                trained().join("wine_quality/1").join(file),
                version.join(file),
            )
            .unwrap();
        }
    })
    .await
}

/// A service whose repository the test fills.
pub(crate) async fn start_with(feature_store: SocketAddr, fill: impl FnOnce(&Path)) -> Service {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    fill(&models);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (trigger, shutdown) = Shutdown::pair();
    let config = Config {
        capture_text: false,
        drift_window: 200,
        drift_windows_per_false_alarm: 1000,
        tls_client: runtime::TlsClientOptions::default(),
        listen: address,
        model_repository: models.clone(),
        feature_store: format!("http://{feature_store}").parse().unwrap(),
        feature_timeout: Duration::from_secs(2),
        queue_capacity: 64,
        compute_threads: 1,
        batch_rows: 256,
        batch_tokens: 16_384,
        batch_wait: Duration::ZERO,
        allow_model_control: true,
        variant: "primary".to_owned(),
        allow_faults: true,
        process: ProcessOptions::default(),
    };
    telemetry::task::spawn(async move {
        model_service::run(config, listener, shutdown)
            .await
            .unwrap();
    });
    let service = Service {
        address,
        models,
        _trigger: trigger,
        _folder: folder,
    };
    // The listener is bound, so that the first request waits until the service answers.
    assert_eq!(service.get("/livez").await.status, 200);
    service
}

/// An address where nothing listens.
pub(crate) fn nobody() -> SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

impl Service {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path), Bytes::new()).await
    }

    pub(crate) async fn infer(&self, body: &Value) -> Answer {
        let request = Request::post("/v2/models/wine_quality/infer");
        self.send(request, body.to_string().into()).await
    }

    pub(crate) async fn send(&self, request: http::request::Builder, body: Bytes) -> Answer {
        let (head, ()) = request.body(()).unwrap().into_parts();
        let url = format!("http://{}{}", self.address, head.uri);
        let headers: Vec<(&str, &str)> = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        send_async(head.method.as_str(), &url, &headers, body)
            .await
            .unwrap()
    }
}

/// The first rows of the data set: a low one and a high one.
pub(crate) const LOW: [f32; 11] = [
    7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4,
];
pub(crate) const HIGH: [f32; 11] = [
    11.2, 0.28, 0.56, 1.9, 0.075, 17.0, 60.0, 0.998, 3.16, 0.58, 9.8,
];

/// How the stand-in for the feature store behaves.
#[derive(Clone, Copy)]
pub(crate) enum Behaviour {
    /// Knows `low` and `high`; `old` is outside its maximum age, `null` has no value, others are
    /// unknown. The columns are in another order than in the request.
    Answers,
    Fails,
    /// Never answers.
    Hangs,
    /// Answers something that is not Feast's protocol.
    Babbles,
}

/// Starts the stand-in; it ends with the test's runtime.
pub(crate) async fn feature_store(behaviour: Behaviour) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handler = move |body: Bytes| async move {
        match behaviour {
            Behaviour::Answers => (StatusCode::OK, answer(&body).to_string()),
            Behaviour::Fails => (StatusCode::INTERNAL_SERVER_ERROR, "\"broken\"".to_owned()),
            Behaviour::Babbles => (StatusCode::OK, "<html>".to_owned()),
            Behaviour::Hangs => std::future::pending().await,
        }
    };
    let router = Router::new().route("/get-online-features", post(handler));
    telemetry::task::spawn(async move { axum::serve(listener, router).await });
    address
}

fn answer(body: &[u8]) -> Value {
    let asked: Value = serde_json::from_slice(body).unwrap();
    let ids = asked["entities"]["wine_id"].as_array().unwrap();
    let mut names = vec!["wine_id".to_owned()];
    let mut results = vec![json!({"values": ids, "statuses": vec!["PRESENT"; ids.len()]})];
    for (index, name) in FEATURES.iter().enumerate().rev() {
        assert!(
            asked["features"]
                .as_array()
                .unwrap()
                .contains(&json!(format!("wine_features:{name}")))
        );
        let cell = |id: &Value| match id.as_str().unwrap() {
            "high" => (json!(HIGH[index]), "PRESENT"),
            "old" => (json!(LOW[index]), "OUTSIDE_MAX_AGE"),
            "null" if index == 4 => (Value::Null, "NULL_VALUE"),
            "low" | "null" => (json!(LOW[index]), "PRESENT"),
            _ => (Value::Null, "NOT_FOUND"),
        };
        let (values, statuses): (Vec<Value>, Vec<&str>) = ids.iter().map(cell).unzip();
        results.push(json!({"values": values, "statuses": statuses}));
        names.push((*name).to_owned());
    }
    json!({"results": results, "metadata": {"feature_names": names}})
}
