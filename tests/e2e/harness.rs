//! Starts real processes on free ports, asks them, and waits for their traces.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use explorer::model::Trace;
use explorer::tree;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use telemetry::SpanRef;
use telemetry::client::HttpClient;
use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_throughline-under-test");
/// Nothing in a test may take longer; a condition that does not come true by then fails the test.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// One process of the system. It is killed when the test ends, passed or failed.
pub(crate) struct Process {
    child: Child,
    /// The child stops when this pipe closes; it is held, not used.
    _lifeline: Option<ChildStdin>,
    lines: Arc<Lines>,
}

#[derive(Default)]
struct Lines {
    heard: Mutex<Vec<String>>,
    more: Condvar,
}

impl Process {
    /// Starts the program with `args`; of the variables of this process only those that are named here reach it.
    pub(crate) fn start(args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(PROGRAM);
        for (variable, _) in std::env::vars()
            .filter(|(name, _)| name.starts_with("OTEL_") || name.starts_with("THROUGHLINE_") || name == "RUST_LOG")
        {
            command.env_remove(variable);
        }
        command.args(args).envs(env.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let lines = Arc::new(Lines::default());
        let lifeline = child.stdin.take();
        listen(child.stdout.take().context("stdout is piped")?, Arc::clone(&lines));
        listen(child.stderr.take().context("stderr is piped")?, Arc::clone(&lines));
        Ok(Self { child, _lifeline: lifeline, lines })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first line that `wanted` takes, waiting for it.
    pub(crate) fn wait_line<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        let end = Instant::now() + DEADLINE;
        let mut heard = self.lines.heard.lock().expect("no listener panics");
        loop {
            if let Some(found) = heard.iter().find_map(|line| wanted(line)) {
                return Ok(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("no line with {what}; heard:\n{}", heard.join("\n"));
            }
            heard = self.lines.more.wait_timeout(heard, left).expect("no listener panics").0;
        }
    }

    /// The `url` of the log event `event`.
    pub(crate) fn url(&self, event: &str) -> Result<String> {
        self.wait_line(event, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["event.name"] == event).then(|| line["url"].as_str().map(str::to_owned)).flatten()
        })
    }

    /// Everything said so far.
    pub(crate) fn output(&self) -> String {
        self.lines.heard.lock().expect("no listener panics").join("\n")
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        let child = &mut self.child;
        let status = eventually("the process ends", || Ok(child.try_wait()?));
        status.with_context(|| self.output())
    }

    /// SIGINT, as Ctrl-C sends it.
    pub(crate) fn interrupt(&self) -> Result<()> {
        signal("INT", self.pid())
    }

    /// SIGKILL, and waits.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; either way it must not outlive the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(stream: impl std::io::Read + Send + 'static, lines: Arc<Lines>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.heard.lock().expect("no listener panics").push(line);
            lines.more.notify_all();
        }
    });
}

/// Sends a signal by its name.
pub(crate) fn signal(name: &str, pid: u32) -> Result<()> {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status()?;
    if status.success() { Ok(()) } else { bail!("cannot send SIG{name} to {pid}") }
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
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prepared-{}", std::process::id()));
        let (models, features) = (folder.join("models"), folder.join("features.db"));
        std::fs::create_dir_all(&folder).expect("the target folder is writable");
        let csv = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/wine_quality/winequality-red.csv");
        let quiet = [("OTEL_SDK_DISABLED", "true")];
        let train = ["train", "wine_quality", "--model-repository", path(&models)];
        let load = [
            "feature-store",
            "load",
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
    pub(crate) urls: Urls,
    client: HttpClient,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Urls {
    pub(crate) explorer: String,
    pub(crate) otlp: String,
    pub(crate) feature_store: String,
    pub(crate) model_service: String,
    pub(crate) gateway: String,
}

/// An answer with what tests look at.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The trace that the answer names.
    pub(crate) fn span(&self) -> SpanRef {
        let value = self.headers["traceresponse"].to_str().expect("traceresponse is ASCII");
        SpanRef::from_traceparent(value).expect("traceresponse is well formed")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    pub(crate) fn prediction(&self, index: usize) -> &Value {
        &self.body["predictions"][index]
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
        std::fs::copy(prepared().join("features.db"), data.path().join("features.db"))?;
        let explorer = Process::start(
            &["explorer", "--listen", "127.0.0.1:0", "--otlp-listen", "127.0.0.1:0", "--exit-with-parent"],
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
            urls,
            client: HttpClient::new()?,
        };
        this.wait_ready()?;
        Ok(this)
    }

    fn wait_ready(&self) -> Result<()> {
        for url in [&self.urls.feature_store, &self.urls.model_service, &self.urls.gateway] {
            let probe = format!("{url}/readyz");
            eventually("the service is ready", || {
                Ok(self.get(&probe).ok().filter(|answer| answer.status == StatusCode::OK))
            })?;
        }
        Ok(())
    }

    /// `POST /v1/predictions` for wines.
    pub(crate) fn predict(&self, data_ids: &[&str]) -> Result<Answer> {
        self.predict_with(data_ids, &[])
    }

    /// The same with request headers.
    pub(crate) fn predict_with(&self, data_ids: &[&str], headers: &[(&str, &str)]) -> Result<Answer> {
        let body = json!({"model": "wine_quality", "data_ids": data_ids}).to_string();
        self.post(&format!("{}/v1/predictions", self.urls.gateway), body, headers)
    }

    pub(crate) fn get(&self, url: &str) -> Result<Answer> {
        self.send(Request::get(url).body(Bytes::new())?)
    }

    /// The body of a GET as text.
    pub(crate) fn text(&self, url: &str) -> Result<String> {
        let answer = runtime().block_on(self.client.send(Request::get(url).body(Bytes::new())?, DEADLINE))?;
        Ok(String::from_utf8(answer.body().to_vec())?)
    }

    /// A request without a body.
    pub(crate) fn request(&self, method: Method, url: &str) -> Result<Answer> {
        self.send(Request::builder().method(method).uri(url).body(Bytes::new())?)
    }

    pub(crate) fn post(&self, url: &str, body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Result<Answer> {
        let mut request = Request::post(url).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into())?)
    }

    fn send(&self, request: Request<Bytes>) -> Result<Answer> {
        let answer = runtime().block_on(self.client.send(request, DEADLINE))?;
        let body = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        Ok(Answer { status: answer.status(), headers: answer.headers().clone(), body })
    }

    /// The trace as soon as its outline is `expected`; what came instead fails the test.
    pub(crate) fn trace_with_outline(&self, trace_id: &str, expected: &str) -> Result<Trace> {
        let mut last = String::from("nothing");
        let found = eventually("the trace has its outline", || {
            let Some(trace) = self.trace(trace_id)? else { return Ok(None) };
            last = tree::outline(&trace);
            Ok((last.trim_end() == expected.trim_end()).then_some(trace))
        });
        let trace = found.with_context(|| format!("expected:\n{expected}\ncame:\n{last}"))?;
        assert_eq!(tree::problems(&trace), Vec::<String>::new(), "{last}");
        Ok(trace)
    }

    /// What the explorer holds of a trace now.
    pub(crate) fn trace(&self, trace_id: &str) -> Result<Option<Trace>> {
        let request = Request::get(format!("{}/api/traces/{trace_id}", self.urls.explorer)).body(Bytes::new())?;
        let answer = runtime().block_on(self.client.send(request, DEADLINE))?;
        match answer.status() {
            StatusCode::OK => Ok(Some(Trace::from_otlp(answer.body())?)),
            StatusCode::NOT_FOUND => Ok(None),
            status => bail!("the explorer answers {status}"),
        }
    }

    /// Log records of a trace, once there are at least `count`.
    pub(crate) fn logs(&self, trace_id: &str, count: usize) -> Result<Vec<Value>> {
        let url = format!("{}/api/logs?trace_id={trace_id}", self.urls.explorer);
        eventually("the log records arrive", || {
            let logs = self.get(&url)?.body["logs"].as_array().cloned().unwrap_or_default();
            Ok((logs.len() >= count).then_some(logs))
        })
    }

    /// Names of all metrics, and with each the keys of its points' attributes.
    pub(crate) fn metrics(&self) -> Result<BTreeMap<String, Vec<Value>>> {
        let names = self.get(&format!("{}/api/metrics", self.urls.explorer))?.body;
        let names = names["metrics"].as_array().cloned().unwrap_or_default();
        let mut found = BTreeMap::new();
        for name in names.iter().filter_map(|metric| metric["name"].as_str()) {
            let series = self.get(&format!("{}/api/metrics?name={name}", self.urls.explorer))?.body;
            found.insert(name.to_owned(), series["series"].as_array().cloned().unwrap_or_default());
        }
        Ok(found)
    }
}

/// The feature store on its own copy of the data.
pub(crate) fn feature_store(data: &TempDir, env: &[(&str, &str)]) -> Result<Process> {
    feature_store_at("127.0.0.1:0", data, env)
}

/// The same where it was before it died.
pub(crate) fn feature_store_at(address: &str, data: &TempDir, env: &[(&str, &str)]) -> Result<Process> {
    let database = data.path().join("features.db");
    let args =
        ["feature-store", "--listen", address, "--database", path(&database), "--allow-faults", "--exit-with-parent"];
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
    Process::start(&[args.as_slice(), &["--allow-faults", "--exit-with-parent"]].concat(), env)
}

/// The gateway on a prediction store.
pub(crate) fn gateway(store: &str, model_service: &str, env: &[(&str, &str)]) -> Result<Process> {
    let args = ["gateway", "--listen", "127.0.0.1:0", "--prediction-store", store, "--model-service", model_service];
    Process::start(&[args.as_slice(), &["--allow-faults", "--exit-with-parent"]].concat(), env)
}

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().expect("a runtime"))
}
