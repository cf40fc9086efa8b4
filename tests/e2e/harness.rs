//! Starts real processes on free ports, asks them, and waits for their traces.

mod process;
mod python;
mod routed;
mod site;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use http::StatusCode;
use tempfile::TempDir;

pub(crate) use process::Process;
pub(crate) use python::{PythonSystem, folder_with_both_models, python_environment, up};
pub(crate) use routed::Routed;
pub(crate) use site::{Answer, Site, Urls};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_throughline-under-test");
/// Nothing in a test may take longer; a condition that does not come true by then fails the test.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Sends a signal by its name.
pub(crate) fn signal(name: &str, pid: u32) -> Result<()> {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()?;
    if status.success() {
        Ok(())
    } else {
        bail!("cannot send SIG{name} to {pid}")
    }
}

/// Waits until `probe` finds something, with the deadline of all tests.
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("waited in vain until {what}");
        }
        // The pause between two looks at a condition, not a wait for time to pass.
        std::thread::park_timeout(Duration::from_millis(15));
    }
}

/// A model that was trained once for all tests, and the features of all wines. Both are only read, or copied.
fn prepared() -> &'static Path {
    static PREPARED: OnceLock<PathBuf> = OnceLock::new();
    PREPARED.get_or_init(|| {
        forget_earlier_runs();
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
            let mut process = Process::start(args, &quiet).expect("the program starts");
            let status = process.wait().expect("preparation ends");
            assert!(status.success(), "{args:?} failed:\n{}", process.output());
        }
        folder
    })
}

/// A process cannot take its folder away at its end, since statics are not dropped; the next one does.
fn forget_earlier_runs() {
    let folders = std::fs::read_dir(env!("CARGO_TARGET_TMPDIR"))
        .into_iter()
        .flatten()
        .flatten();
    for folder in folders {
        let name = folder.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("prepared-");
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Two processes may clean up at once; what is left is the next one's.
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

    /// Everything, with more variables for the three services.
    pub(crate) fn start_with(env: &[(&str, &str)]) -> Result<Self> {
        let data = TempDir::new()?;
        let store = data.path().join("predictions.db");
        let store = path(&store).to_owned();
        Self::start_in(data, &store, env)
    }

    /// Everything, with predictions stored in `prediction_store`, a file or an address.
    pub(crate) fn start_on(prediction_store: &str) -> Result<Self> {
        Self::start_in(TempDir::new()?, prediction_store, &[])
    }

    fn start_in(data: TempDir, prediction_store: &str, env: &[(&str, &str)]) -> Result<Self> {
        std::fs::copy(
            prepared().join("features.db"),
            data.path().join("features.db"),
        )?;
        let explorer = Process::start(
            &[
                "explorer",
                "--listen",
                "127.0.0.1:0",
                "--otlp-listen",
                "127.0.0.1:0",
                "--exit-with-parent",
            ],
            &[],
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
        let model_service = model_service(&urls.feature_store, &variables)?;
        urls.model_service = model_service.url("server.listening")?;
        let gateway = gateway(prediction_store, &urls.model_service, &variables)?;
        urls.gateway = gateway.url("server.listening")?;
        let this = Self {
            data,
            explorer: Some(explorer),
            feature_store: Some(feature_store),
            model_service: Some(model_service),
            gateway,
            site: Site::new(urls)?,
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

/// The same where it was before it died.
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
    Process::start(&args, env)
}

/// The model service with the prepared model.
pub(crate) fn model_service(feature_store: &str, env: &[(&str, &str)]) -> Result<Process> {
    let models = prepared().join("models");
    let args = [
        "model-service",
        "--listen",
        "127.0.0.1:0",
        "--model-repository",
        path(&models),
        "--feature-store",
        feature_store,
    ];
    Process::start(
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
    Process::start(
        &[args.as_slice(), &["--allow-faults", "--exit-with-parent"]].concat(),
        env,
    )
}
