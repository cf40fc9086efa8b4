//! The whole system as real processes on free ports.

mod python;
mod routed;
mod site;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Result;
use harness::{Process, eventually};
use http::StatusCode;
use tempfile::TempDir;

pub(crate) use python::{
    PythonSystem, environment_with_jax, folder_with_both_models, python_environment, up,
};
pub(crate) use routed::Routed;
pub(crate) use site::{JsonAnswer, Site, Urls, exchange, is_whole, model};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_throughline-under-test");

/// Starts the program under test.
pub(crate) fn start(args: &[&str], variables: &[(&str, &str)]) -> Result<Process> {
    Process::start(PROGRAM, args, variables)
}

/// A model that was trained once for all tests, and the features of all wines. Both are only read,
/// or copied.
fn prepared() -> &'static Path {
    static PREPARED: OnceLock<PathBuf> = OnceLock::new();
    PREPARED.get_or_init(|| {
        remove_earlier_runs();
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prepared-{}", std::process::id()));
        let (models, features) = (folder.join("models"), folder.join("features.db"));
        std::fs::create_dir_all(&folder).expect("the target folder is writable");
        let csv = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../data/wine_quality/winequality-red.csv"
        );
        let quiet = [("OTEL_SDK_DISABLED", "true")];
        let train = ["train", "wine_quality", "--model-repository", path(&models)];
        let load = [
            "feature-store",
            "materialize",
            "--view",
            "wine_features",
            "--file",
            csv,
            "--map",
            "data_id=wine_id",
            "--database",
            path(&features),
        ];
        for args in [train.as_slice(), load.as_slice()] {
            let mut process = start(args, &quiet).expect("the program starts");
            let status = process.wait().expect("preparation ends");
            assert!(status.success(), "{args:?} failed:\n{}", process.output());
        }
        folder
    })
}

/// The same model with one for texts, which few tests need.
fn models_with_texts() -> &'static Path {
    static MODELS: OnceLock<PathBuf> = OnceLock::new();
    MODELS.get_or_init(|| {
        let models = prepared().join("models-with-texts");
        let quiet = [("OTEL_SDK_DISABLED", "true")];
        for model in ["wine_quality", "text_sentiment"] {
            let args = ["train", model, "--model-repository", path(&models)];
            let mut process = start(&args, &quiet).expect("the program starts");
            let status = process.wait().expect("the training ends");
            assert!(status.success(), "{args:?} failed:\n{}", process.output());
        }
        models
    })
}

/// Statics are not dropped, so a process leaves its folder behind; the next one removes it.
fn remove_earlier_runs() {
    let folders = std::fs::read_dir(env!("CARGO_TARGET_TMPDIR"))
        .into_iter()
        .flatten()
        .flatten();
    for folder in folders {
        let name = folder.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("prepared-");
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Two processes may clean up at once.
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

/// A path as text for a command line.
pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("test folders have plain names")
}

/// The whole system: explorer, feature store, model service, gateway.
pub(crate) struct System {
    pub(crate) data: TempDir,
    pub(crate) explorer: Option<Process>,
    pub(crate) feature_store: Option<Process>,
    pub(crate) model_service: Option<Process>,
    pub(crate) gateway: Process,
    site: Site,
    /// Folders of a test that live as long as the system.
    kept: Vec<TempDir>,
}

impl Deref for System {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl System {
    /// Everything, with faults allowed.
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Everything, with more variables for the three services, and for the explorer those of its own.
    pub(crate) fn start_with(env: &[(&str, &str)]) -> Result<Self> {
        let data = TempDir::new()?;
        let store = data.path().join("predictions.db");
        let store = path(&store).to_owned();
        Self::start_in(data, &prepared().join("models"), &store, env)
    }

    /// Everything, with the model for texts.
    pub(crate) fn start_with_texts() -> Result<Self> {
        let data = TempDir::new()?;
        let store = data.path().join("predictions.db");
        let store = path(&store).to_owned();
        Self::start_in(data, models_with_texts(), &store, &[])
    }

    /// Everything, with models in a folder of its own, to which a test adds some.
    pub(crate) fn start_with_own_models() -> Result<Self> {
        let data = TempDir::new()?;
        let version = Path::new("models/wine_quality/1");
        std::fs::create_dir_all(data.path().join(version))?;
        for file in ["manifest.json", "model.safetensors"] {
            let file = version.join(file);
            std::fs::copy(prepared().join(&file), data.path().join(&file))?;
        }
        let (models, store) = (
            data.path().join("models"),
            data.path().join("predictions.db"),
        );
        let store = path(&store).to_owned();
        Self::start_in(data, &models, &store, &[])
    }

    /// Everything, with the prepared model in the folder `models`, which the test may change.
    pub(crate) fn start_on_copy(models: &Path, env: &[(&str, &str)]) -> Result<Self> {
        let version = Path::new("wine_quality/1");
        std::fs::create_dir_all(models.join(version))?;
        for file in std::fs::read_dir(prepared().join("models").join(version))? {
            let file = file?;
            std::fs::copy(file.path(), models.join(version).join(file.file_name()))?;
        }
        let data = TempDir::new()?;
        let store = data.path().join("predictions.db");
        let store = path(&store).to_owned();
        Self::start_in(data, models, &store, env)
    }

    /// Everything, with predictions stored in `prediction_store`, a file or an address.
    pub(crate) fn start_on(prediction_store: &str) -> Result<Self> {
        let models = prepared().join("models");
        Self::start_in(TempDir::new()?, &models, prediction_store, &[])
    }

    fn start_in(
        data: TempDir,
        models: &Path,
        prediction_store: &str,
        env: &[(&str, &str)],
    ) -> Result<Self> {
        std::fs::copy(
            prepared().join("features.db"),
            data.path().join("features.db"),
        )?;
        let of_explorer = |(name, _): &&(&str, &str)| name.starts_with("EXPLORER_");
        let of_explorer: Vec<_> = env.iter().filter(of_explorer).copied().collect();
        let explorer = start(
            &[
                "explorer",
                "--listen",
                "127.0.0.1:0",
                "--otlp-listen",
                "127.0.0.1:0",
                "--exit-with-parent",
            ],
            &of_explorer,
        )?;
        let mut urls = Urls {
            explorer: explorer.url("server.listening")?,
            otlp: explorer.url("explorer.otlp_listening")?,
            ..Urls::default()
        };
        let otlp = urls.otlp.clone();
        let mut variables = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.as_str()),
            ("OTEL_BSP_SCHEDULE_DELAY", "30"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "30"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "300"),
        ];
        variables.extend_from_slice(env);
        let feature_store = feature_store(&data, &variables)?;
        urls.feature_store = feature_store.url("server.listening")?;
        let model_service = model_service_of(models, &urls.feature_store, &variables)?;
        urls.model_service = model_service.url("server.listening")?;
        let gateway = gateway(prediction_store, &urls.model_service, &variables)?;
        urls.gateway = gateway.url("server.listening")?;
        let this = Self {
            data,
            explorer: Some(explorer),
            feature_store: Some(feature_store),
            model_service: Some(model_service),
            gateway,
            site: Site::new(urls),
            kept: Vec::new(),
        };
        this.wait_ready()?;
        Ok(this)
    }

    /// Keeps a folder until the processes have ended.
    pub(crate) fn keep(&mut self, folder: TempDir) {
        self.kept.push(folder);
    }

    fn wait_ready(&self) -> Result<()> {
        for url in [
            &self.urls.feature_store,
            &self.urls.model_service,
            &self.urls.gateway,
        ] {
            let probe = format!("{url}/readyz");
            eventually("the service is ready", || {
                Ok(self
                    .get(&probe)
                    .ok()
                    .filter(|answer| answer.status == StatusCode::OK))
            })?;
        }
        Ok(())
    }
}

/// The feature store on its own copy of the data.
pub(crate) fn feature_store(data: &TempDir, env: &[(&str, &str)]) -> Result<Process> {
    feature_store_at("127.0.0.1:0", data, env)
}

/// The same at an address that it had before.
pub(crate) fn feature_store_at(
    address: &str,
    data: &TempDir,
    env: &[(&str, &str)],
) -> Result<Process> {
    let database = data.path().join("features.db");
    let args = [
        "feature-store",
        "--listen",
        address,
        "--database",
        path(&database),
        "--allow-faults",
        "--exit-with-parent",
    ];
    start(&args, env)
}

/// The model service with the prepared model.
pub(crate) fn model_service(feature_store: &str, env: &[(&str, &str)]) -> Result<Process> {
    model_service_of(&prepared().join("models"), feature_store, env)
}

fn model_service_of(models: &Path, feature_store: &str, env: &[(&str, &str)]) -> Result<Process> {
    let args = [
        "model-service",
        "--listen",
        "127.0.0.1:0",
        "--model-repository",
        path(models),
        "--feature-store",
        feature_store,
    ];
    start(
        &[args.as_slice(), &["--allow-faults", "--exit-with-parent"]].concat(),
        env,
    )
}

/// The gateway on a prediction store.
pub(crate) fn gateway(store: &str, model_service: &str, env: &[(&str, &str)]) -> Result<Process> {
    let args = [
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--prediction-store",
        store,
        "--model-service",
        model_service,
    ];
    start(
        &[args.as_slice(), &["--allow-faults", "--exit-with-parent"]].concat(),
        env,
    )
}
