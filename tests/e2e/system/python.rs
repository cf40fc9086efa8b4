//! The system with the Python worker in it, by `throughline up` as a user starts it.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::{Process, eventually};
use serde_json::Value;
use tempfile::TempDir;

use super::{PROGRAM, Site, Urls, path, prepared, start};

/// `throughline up` with the Python worker as the variant `canary`, on data of its own.
pub(crate) struct PythonSystem {
    pub(crate) process: Process,
    /// The folder that was given to `--data-dir`.
    pub(crate) data: PathBuf,
    site: Site,
}

impl Deref for PythonSystem {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

const VARIABLES: [(&str, &str); 6] = [
    // Tests wait for telemetry, so it is exported without delay.
    ("OTEL_BSP_SCHEDULE_DELAY", "30"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "30"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "300"),
    // Without a cache every look-up reads the database, so that trees do not depend on earlier
    // requests.
    ("FEATURE_STORE_CACHE_CAPACITY", "0"),
    // Its sample shows what is off otherwise.
    ("MODEL_SERVICE_CAPTURE_TEXT", "true"),
    // Nothing is evicted before a test has read it.
    ("EXPLORER_MAX_BYTES", "268435456"),
];

impl PythonSystem {
    /// The system shared by all tests that do not change it. Its first start trained the worker's
    /// model. It ends with this process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<(PythonSystem, Child)> = OnceLock::new();
        let (system, _) = SHARED.get_or_init(|| {
            let data = prepared().join("two-languages");
            copy_prepared(&prepared().join("models"), &data)
                .expect("the target folder is writable");
            let system = Self::start(&data).expect("the system with the Python worker starts");
            let guard = guard(system.process.pid()).expect("sh is there");
            (system, guard)
        });
        system
    }

    /// A system of its own, for a test that changes it or counts what it does.
    pub(crate) fn alone() -> Result<(Self, TempDir)> {
        let folder = folder_with_both_models()?;
        Ok((Self::start(folder.path())?, folder))
    }

    fn start(data: &Path) -> Result<Self> {
        let process = up(
            data,
            &[
                "--python",
                "--python-environment",
                path(python_environment()),
            ],
            &VARIABLES,
        )?;
        let urls = Urls {
            explorer: url(&process, "explorer")?,
            otlp: otlp(data)?,
            feature_store: url(&process, "feature-store")?,
            model_service: url(&process, "model-service")?,
            worker: url(&process, "model-service-python")?,
            gateway: url(&process, "gateway")?,
        };
        Ok(Self {
            process,
            data: data.to_owned(),
            site: Site::new(urls),
        })
    }
}

/// A complete data folder for `up`, with the models of both languages.
pub(crate) fn folder_with_both_models() -> Result<TempDir> {
    let folder = TempDir::new()?;
    copy_prepared(&PythonSystem::shared().data.join("models"), folder.path())?;
    Ok(folder)
}

/// A first start trains two models, and Python has much to import.
const START: Duration = Duration::from_mins(2);

/// The address that `up` prints for a part.
fn url(up: &Process, name: &str) -> Result<String> {
    up.wait_line_within(START, name, |line| {
        let mut words = line.split_whitespace();
        let url = (words.next() == Some(name)).then(|| words.next()).flatten();
        url.filter(|url| url.starts_with("http")).map(str::to_owned)
    })
}

/// `throughline up` on free ports, with more options and variables.
pub(crate) fn up(data: &Path, more: &[&str], env: &[(&str, &str)]) -> Result<Process> {
    const PORTS: [&str; 7] = [
        "--gateway-port",
        "--model-service-port",
        "--feature-store-port",
        "--explorer-port",
        "--otlp-port",
        "--python-port",
        "--encoder-port",
    ];
    let mut args = vec!["up", "--data-dir", path(data)];
    for flag in PORTS.into_iter().filter(|flag| !more.contains(flag)) {
        args.extend([flag, "0"]);
    }
    args.extend_from_slice(more);
    start(&args, env)
}

/// The environment of the Python worker, made once and kept for later runs.
pub(crate) fn python_environment() -> &'static Path {
    &environment().0
}

/// The same with JAX; `None` where there is no Python that JAX runs on.
pub(crate) fn environment_with_jax() -> Option<&'static Path> {
    let (folder, has_jax) = environment();
    has_jax.then_some(folder)
}

/// The environment, and whether JAX is in it.
fn environment() -> &'static (PathBuf, bool) {
    static ENVIRONMENT: OnceLock<(PathBuf, bool)> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        // CARGO_TARGET_TMPDIR is a folder of the target folder.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
        let folder = target.expect("the target folder").join("python");
        let (mut made, mut said) = set_up(&folder, &["--extra", "jax"]);
        let has_jax = made;
        if said.contains("Python 3.11 or newer is needed") {
            (made, said) = set_up(&folder, &[]);
        }
        assert!(
            made,
            "these tests need Python 3.10 or newer (README) and its packages, and `throughline python-setup` fails: {said}"
        );
        (folder, has_jax)
    })
}

fn set_up(folder: &Path, more: &[&str]) -> (bool, String) {
    let mut setup = Command::new(PROGRAM);
    setup.args(["python-setup", "--python-environment", path(folder)]);
    let output = setup.args(more).output().expect("the program starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

fn copy_prepared(models: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::copy(prepared().join("features.db"), to.join("features.db"))?;
    let copied = Command::new("cp").arg("-R").arg(models).arg(to).status()?;
    if copied.success() {
        Ok(())
    } else {
        bail!("cannot copy {}", models.display())
    }
}

/// Where the explorer of a system receives telemetry; only its log has it.
fn otlp(data: &Path) -> Result<String> {
    let log = data.join("logs/explorer.log");
    eventually("the explorer logs where it receives", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let mut events = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let event = events.find(|event| event["event.name"] == "explorer.otlp_listening");
        Ok(event.and_then(|event| event["url"].as_str().map(str::to_owned)))
    })
    .with_context(|| log.display().to_string())
}

/// A shell that ends the process when this one ends: a static is never dropped.
fn guard(pid: u32) -> Result<Child> {
    let script = r#"read -r _; kill -INT "$1""#;
    Ok(Command::new("sh")
        .args(["-c", script, "sh", &pid.to_string()])
        .stdin(Stdio::piped())
        .spawn()?)
}
