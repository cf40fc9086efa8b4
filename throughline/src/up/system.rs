//! The running parts: what they are started with, in which order, and how they end.

mod worker;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use feature_store::backend::Database;
use http::{Request, StatusCode};
use telemetry::client::HttpClient;

use super::data_dir::DataDir;
use super::part::{Part, Spec};
use crate::cli::UpOptions;
use crate::python::Environment;
use crate::screen;
use crate::train::has_version;

/// How long the gateway may take to become ready once it listens.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// Everything that `up` runs. Parts are in the order of their start; they end in the reverse order.
#[derive(Debug)]
pub(crate) struct System {
    options: UpOptions,
    data: DataDir,
    parts: Vec<Part>,
    extra_env: Vec<(&'static str, String)>,
    python: Option<Environment>,
    explorer: Option<String>,
    feature_store: Option<String>,
    model_service: Option<String>,
    worker: Option<String>,
    gateway: Option<String>,
}

impl System {
    /// Takes the data folder and looks whether the ports are free, before anything slow begins.
    pub(crate) fn new(options: &UpOptions) -> anyhow::Result<Self> {
        let ports = [
            ("--gateway-port", options.gateway_port),
            ("--model-service-port", options.model_service_port),
            ("--feature-store-port", options.feature_store_port),
        ];
        let explorer = [
            ("--explorer-port", options.explorer_port),
            ("--otlp-port", options.otlp_port),
        ];
        let explorer = explorer
            .into_iter()
            .filter(|_| options.otlp_endpoint.is_none());
        let data = DataDir::open(&options.data_dir)?;
        let python = worker::environment(options)?;
        let worker = python
            .iter()
            .map(|_| ("--python-port", options.worker.python_port));
        for (flag, port) in ports.into_iter().chain(explorer).chain(worker) {
            free(port, flag)?;
        }
        Ok(Self {
            options: options.clone(),
            data,
            parts: Vec::new(),
            extra_env: options
                .otlp_endpoint
                .iter()
                .map(|url| ("OTEL_EXPORTER_OTLP_ENDPOINT", url.clone()))
                .collect(),
            python,
            explorer: None,
            feature_store: None,
            model_service: None,
            worker: None,
            gateway: None,
        })
    }

    /// More variables for every part that is started from now on.
    pub(crate) fn with_env(
        mut self,
        variables: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        self.extra_env.extend(variables);
        self
    }

    /// Starts the explorer, prepares model and features, and starts the services from the back to the front.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        if self.options.otlp_endpoint.is_none() {
            self.start_explorer().await?;
        }
        self.prepare().await?;
        let feature_store = self.start_feature_store().await?;
        // Python takes its time to start; meanwhile the model service does.
        let worker = self.launch_worker(&feature_store)?;
        let model_service = self.start_model_service(&feature_store).await?;
        if let Some(worker) = worker {
            self.worker = Some(self.listening(worker).await?);
        }
        let gateway = self.start_gateway(&model_service).await?;
        for url in [&gateway, &model_service].into_iter().chain(&self.worker) {
            wait_ready(url).await?;
        }
        (self.feature_store, self.model_service, self.gateway) =
            (Some(feature_store), Some(model_service), Some(gateway));
        screen::say(format!(
            "everything is up after {:.1} s",
            begun.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// Where the gateway listens.
    pub(crate) fn gateway(&self) -> anyhow::Result<&str> {
        self.gateway.as_deref().context("the gateway is not up")
    }

    /// Where the explorer listens, if this system has one and its traces go there.
    pub(crate) fn explorer(&self) -> Option<&str> {
        let elsewhere = std::env::var_os("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .is_some_and(|url| !url.is_empty());
        self.explorer.as_deref().filter(|_| !elsewhere)
    }

    /// Where the Python worker listens, if this system has one.
    pub(crate) fn worker(&self) -> Option<&str> {
        self.worker.as_deref()
    }

    /// Names of the gateway's spans that read and write the prediction store; each engine has its own words.
    pub(crate) fn store_spans(&self) -> (&'static str, &'static str) {
        match &self.options.prediction_store {
            Some(url) if url.starts_with("http") => ("mget predictions", "bulk predictions"),
            _ => ("SELECT predictions", "INSERT predictions"),
        }
    }

    /// Name of the feature store's span that reads its engine.
    pub(crate) fn feature_span(&self) -> &'static str {
        match self.feature_database() {
            Database::Redis(_) => "HMGET wine_features",
            Database::File(_) | Database::Wrong(_) => "SELECT wine_features",
        }
    }

    /// Names and pids of the running parts.
    pub(crate) fn pids(&self) -> Vec<(&'static str, u32)> {
        self.parts
            .iter()
            .filter_map(|part| Some((part.name(), part.pid()?)))
            .collect()
    }

    /// The addresses and a first request, for the reader of the terminal.
    pub(crate) fn addresses(&self) -> anyhow::Result<String> {
        let gateway = self.gateway()?;
        let mut text = format!(
            "\n{:<22}{gateway}   (API: {gateway}/openapi.json)\n",
            "gateway"
        );
        let rest = [
            ("model-service", &self.model_service),
            (worker::NAME, &self.worker),
            ("feature-store", &self.feature_store),
            ("explorer", &self.explorer),
        ];
        for (name, url) in rest {
            if let Some(url) = url {
                let _ = writeln!(text, "{name:<22}{url}");
            }
        }
        let _ = write!(
            text,
            "\nTry:  curl -s {gateway}/v1/predictions -H 'content-type: application/json' -d '{{\"model\":\"wine_quality\",\"data_ids\":[\"wine-0001\",\"wine-0002\"]}}'\n\
             Then: throughline traces, throughline trace <id>, or the explorer's page. Ctrl-C stops everything."
        );
        Ok(text)
    }

    /// Waits until a part dies, which ends the system.
    pub(crate) async fn watch(&mut self) -> anyhow::Result<()> {
        let deaths = self.parts.iter_mut().map(|part| Box::pin(part.died()));
        let (death, _, _) = futures_util::future::select_all(deaths).await;
        Err(anyhow!(death))
    }

    /// Stops the parts from the front to the back, the explorer last, so that every trace still arrives.
    pub(crate) async fn stop(&mut self) -> bool {
        let end = Instant::now() + super::PATIENCE;
        let mut clean = true;
        while let Some(part) = self.parts.pop() {
            let left = end.saturating_duration_since(Instant::now());
            clean &= part.stop(left.max(Duration::from_millis(200))).await;
        }
        clean
    }

    async fn start_explorer(&mut self) -> anyhow::Result<()> {
        let listen = [
            ("--listen", self.options.explorer_port),
            ("--otlp-listen", self.options.otlp_port),
        ];
        let listen = listen
            .iter()
            .flat_map(|(flag, port)| address(flag, *port))
            .collect();
        let mut part = self.spawn("explorer", listen, &[])?;
        let url = part.url("server.listening").await?;
        let otlp = part.url("explorer.otlp_listening").await?;
        self.parts.push(part);
        self.explorer = Some(url);
        self.extra_env.push(("OTEL_EXPORTER_OTLP_ENDPOINT", otlp));
        // Someone is looking at the screen: traces should arrive while they look.
        for (variable, milliseconds) in [
            ("OTEL_BSP_SCHEDULE_DELAY", "200"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "200"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
        ] {
            if std::env::var_os(variable).is_none() {
                self.extra_env.push((variable, milliseconds.to_owned()));
            }
        }
        Ok(())
    }

    /// Trains the model and loads the features, side by side, as far as they are missing.
    async fn prepare(&mut self) -> anyhow::Result<()> {
        let csv = self.data.wine_csv()?.display().to_string();
        let models = self.data.models().display().to_string();
        let mut work = Vec::new();
        if !has_version(&self.data.models(), "wine_quality", "model.safetensors") {
            screen::say("training wine_quality on 1,599 wines …");
            let args = [
                "wine_quality",
                "--data",
                &csv,
                "--model-repository",
                &models,
                "--if-missing",
            ];
            work.push(self.spawn("train", args.map(str::to_owned).to_vec(), &[])?);
        }
        // Shown without the password that may be in it.
        let named = self.feature_database().to_string();
        if !self.has_features(&named) {
            screen::say("loading features of 1,599 wines …");
            let args = [
                "materialize",
                "--view",
                "wine_features",
                "--file",
                &csv,
                "--map",
                "data_id=wine_id",
            ];
            let args = args.map(str::to_owned).to_vec();
            work.push(self.spawn(
                "feature-store",
                args,
                &[("FEATURE_STORE_DATABASE", &self.feature_address())],
            )?);
        }
        work.extend(self.train_worker(&csv, &models)?);
        for part in work {
            part.finish().await?;
        }
        std::fs::write(self.data.features_complete(), named)?;
        Ok(())
    }

    async fn start_feature_store(&mut self) -> anyhow::Result<String> {
        let args = address("--listen", self.options.feature_store_port);
        self.start_service(
            "feature-store",
            args,
            &[("FEATURE_STORE_DATABASE", &self.feature_address())],
        )
        .await
    }

    async fn start_model_service(&mut self, feature_store: &str) -> anyhow::Result<String> {
        let mut args = address("--listen", self.options.model_service_port);
        args.extend([
            "--model-repository".to_owned(),
            self.data.models().display().to_string(),
        ]);
        args.extend(["--feature-store".to_owned(), feature_store.to_owned()]);
        self.start_service("model-service", args, &[]).await
    }

    async fn start_gateway(&mut self, model_service: &str) -> anyhow::Result<String> {
        let mut args = address("--listen", self.options.gateway_port);
        let embedded = || self.data.predictions().display().to_string();
        let store = self
            .options
            .prediction_store
            .clone()
            .unwrap_or_else(embedded);
        args.extend(["--model-service".to_owned(), model_service.to_owned()]);
        if let Some(worker) = &self.worker {
            args.extend([
                "--model-service".to_owned(),
                format!("{}={worker}", worker::VARIANT),
            ]);
        }
        let ours = || {
            self.worker
                .iter()
                .map(|_| self.data.routes())
                .next()
                .transpose()
        };
        if let Some(routes) = self
            .options
            .routes
            .clone()
            .map_or_else(ours, |routes| Ok(Some(routes)))?
        {
            args.extend(["--routes".to_owned(), routes.display().to_string()]);
        }
        self.start_service("gateway", args, &[("PREDICTION_STORE", &store)])
            .await
    }

    /// Where the features are stored, as the feature store is told.
    fn feature_address(&self) -> String {
        let embedded = || self.data.features().display().to_string();
        self.options
            .feature_store_database
            .clone()
            .unwrap_or_else(embedded)
    }

    /// The same as the feature store understands it; its text names no password.
    fn feature_database(&self) -> Database {
        self.feature_address()
            .parse()
            .unwrap_or_else(|never: Infallible| match never {})
    }

    /// Whether an earlier start has brought all features into this database.
    fn has_features(&self, database: &str) -> bool {
        let gone = self.options.feature_store_database.is_none() && !self.data.features().exists();
        !gone
            && std::fs::read_to_string(self.data.features_complete())
                .is_ok_and(|complete| complete == database)
    }

    /// Starts a service and waits until it listens. Addresses of databases are given as variables of its own: everybody on the
    /// machine can read arguments, and they may hold a password.
    async fn start_service(
        &mut self,
        name: &'static str,
        mut args: Vec<String>,
        databases: &[(&str, &String)],
    ) -> anyhow::Result<String> {
        if !self.options.no_faults {
            args.push("--allow-faults".to_owned());
        }
        let part = self.spawn(name, args, databases)?;
        self.listening(part).await
    }

    /// Waits until a service listens, and tells where.
    async fn listening(&mut self, mut part: Part) -> anyhow::Result<String> {
        let url = part.url("server.listening").await?;
        let (name, pid) = (part.name(), part.pid().unwrap_or_default());
        screen::say(format!("{name:<22}{url:<24} pid {pid}"));
        self.parts.push(part);
        Ok(url)
    }

    /// Variables of every part.
    fn environment(&self) -> Vec<(String, String)> {
        self.extra_env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }

    fn spawn(
        &self,
        name: &'static str,
        mut args: Vec<String>,
        databases: &[(&str, &String)],
    ) -> anyhow::Result<Part> {
        args.insert(0, name.to_owned());
        let stays = !matches!(
            args.get(1).map(String::as_str),
            Some("materialize" | "wine_quality")
        );
        if stays {
            // A dead collector may hold each part's last flush for a second, not for longer: Ctrl-C ends within five.
            args.extend(["--exit-with-parent", "--flush-timeout", "1s"].map(str::to_owned));
        }
        let mut env = self.environment();
        env.extend(
            databases
                .iter()
                .map(|(name, address)| ((*name).to_owned(), (*address).clone())),
        );
        Part::start(Spec {
            name,
            program: None,
            args,
            env,
            log: self.data.log(if stays { name } else { "prepare" }),
        })
    }
}

/// `--flag 127.0.0.1:port`.
pub(super) fn address(flag: &str, port: u16) -> Vec<String> {
    vec![
        flag.to_owned(),
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string(),
    ]
}

/// Says early, with the flag that helps, what the part would say late.
fn free(port: u16, flag: &str) -> anyhow::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map(drop)
        .with_context(|| {
            format!("port {port} is in use; choose another with {flag}, or 0 for a free one")
        })
}

async fn wait_ready(url: &str) -> anyhow::Result<()> {
    let client = HttpClient::new()?;
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        let request = Request::get(format!("{url}/readyz")).body(Bytes::new())?;
        match client.send(request, Duration::from_secs(1)).await {
            Ok(answer) if answer.status() == StatusCode::OK => return Ok(()),
            Ok(answer) if Instant::now() > deadline => {
                anyhow::bail!(
                    "{url} does not become ready: {}",
                    String::from_utf8_lossy(answer.body())
                );
            }
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("{url} does not become ready"));
            }
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
