//! The running parts: the order of their start, and how they end.

mod encoder;
mod prepare;
mod services;
mod worker;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use feature_store::backend::Database;
use http::{Request, StatusCode};

use super::child::{ChildProcess, Deaths};
use super::data_dir::DataDir;
use crate::cli::UpArgs;
use crate::python::PythonEnvironment;
use crate::sample::{Target, Traces};
use crate::screen;

/// How long a service may take to become ready once it listens.
const READY_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a trace of the sample may take to be complete.
const TRACE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long all parts together may take to drain before they are killed. The promise to Ctrl-C is
/// five seconds.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(4500);

/// Everything that `up` runs.
#[derive(Debug)]
pub(crate) struct LocalSystem {
    args: UpArgs,
    data: DataDir,
    /// In the order of their start; they stop in the reverse order.
    parts: Vec<ChildProcess>,
    deaths: Deaths,
    /// Variables of every part.
    env: Vec<(String, String)>,
    python: Option<PythonEnvironment>,
    /// The encoder under the second variant of `text_sentiment`.
    encoder_folder: Option<PathBuf>,
    explorer: Option<String>,
    feature_store: Option<String>,
    model_service: Option<String>,
    worker: Option<String>,
    encoder: Option<String>,
    gateway: Option<String>,
}

impl LocalSystem {
    /// Locks the data folder and checks the ports, before anything slow begins. Parts that die are
    /// reported to `deaths`.
    pub(crate) fn new(args: &UpArgs, deaths: Deaths) -> anyhow::Result<Self> {
        let data = DataDir::open(&args.data_dir)?;
        let python = worker::environment(args)?;
        let encoder_folder = encoder::folder(args)?;
        check_ports(args, python.is_some(), encoder_folder.is_some())?;
        let mut system = Self {
            args: args.clone(),
            data,
            parts: Vec::new(),
            deaths,
            env: Vec::new(),
            python,
            encoder_folder,
            explorer: None,
            feature_store: None,
            model_service: None,
            worker: None,
            encoder: None,
            gateway: None,
        };
        if let Some(url) = args.otlp_endpoint() {
            system.set_env("OTEL_EXPORTER_OTLP_ENDPOINT", url);
        }
        // Otherwise each part that computes would begin anew to set it.
        if let Some(threads) = model_service::threads::missing() {
            system.set_env(model_service::threads::VARIABLE, &threads);
        }
        Ok(system)
    }

    /// Sets a variable for every part that is started from now on.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the explorer, prepares model and features, and starts the services from the back to
    /// the front.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        if self.args.otlp_endpoint().is_none() {
            self.start_explorer().await?;
        }
        self.prepare().await?;
        let feature_store = self.start_feature_store().await?;
        // Python starts slowly, so the model service starts meanwhile.
        let worker = self.launch_worker(&feature_store)?;
        let encoder = self.launch_encoder()?;
        let model_service = self.start_model_service(&feature_store).await?;
        if let Some(worker) = worker {
            self.worker = Some(self.listening(worker).await?);
        }
        if let Some(encoder) = encoder {
            self.encoder = Some(self.listening(encoder).await?);
        }
        let gateway = self.start_gateway(&model_service).await?;
        let others = self.worker.iter().chain(&self.encoder);
        for url in [&gateway, &model_service].into_iter().chain(others) {
            wait_ready(url).await?;
        }
        self.feature_store = Some(feature_store);
        self.model_service = Some(model_service);
        self.gateway = Some(gateway);
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

    pub(crate) fn model_service(&self) -> anyhow::Result<&str> {
        let url = self.model_service.as_deref();
        url.context("the model service is not up")
    }

    /// Where the explorer listens, if traces go there.
    pub(crate) fn explorer(&self) -> Option<&str> {
        let elsewhere = std::env::var_os("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .is_some_and(|url| !url.is_empty());
        self.explorer.as_deref().filter(|_| !elsewhere)
    }

    fn traces(&self) -> Traces {
        let settings = telemetry::Settings::from_env("gateway", "");
        match self.explorer() {
            _ if !settings.exports_every_trace() => Traces::NotAll,
            Some(url) => Traces::Explorer(url.to_owned()),
            None => Traces::Elsewhere,
        }
    }

    /// Where the sample goes and which spans its traces have here.
    pub(crate) fn sample_target(&self) -> anyhow::Result<Target> {
        let (read, write) = self.store_spans();
        Ok(Target {
            gateway: self.gateway()?.to_owned(),
            traces: self.traces(),
            canary: self.worker.is_some(),
            texts: true,
            text_canary: self.encoder.is_some(),
            miss_spans: vec![self.feature_span(), write],
            text_spans: vec![write],
            hit_spans: vec![read],
            trace_timeout: TRACE_TIMEOUT,
        })
    }

    /// The names of the gateway's spans that read and write the prediction store.
    fn store_spans(&self) -> (&'static str, &'static str) {
        match &self.args.prediction_store {
            Some(url) if url.starts_with("http") => ("mget predictions", "bulk predictions"),
            _ => ("SELECT predictions", "INSERT predictions"),
        }
    }

    /// The name of the feature store's span that reads its database.
    fn feature_span(&self) -> &'static str {
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

    /// The addresses and a first request, as text for the terminal.
    pub(crate) fn addresses(&self) -> anyhow::Result<String> {
        let gateway = self.gateway()?;
        let mut text = format!(
            "\n{:<22}{gateway}   (API: {gateway}/openapi.json)\n",
            "gateway"
        );
        let rest = [
            ("model-service", &self.model_service),
            (worker::NAME, &self.worker),
            (encoder::NAME, &self.encoder),
            ("feature-store", &self.feature_store),
            ("explorer", &self.explorer),
        ];
        for (name, url) in rest {
            if let Some(url) = url {
                let _ = writeln!(text, "{name:<22}{url}");
            }
        }
        let _ = writeln!(text, "{:<22}{}", "logs", self.data.logs().display());
        let _ = write!(
            text,
            "\nTry:  curl -s {gateway}/v1/predictions -H 'content-type: application/json' -d '{{\"model\":\"wine_quality\",\"data_ids\":[\"wine-0001\",\"wine-0002\"]}}'\n\
             Then: throughline traces, throughline trace <id>, or the explorer's page. Ctrl-C stops everything."
        );
        Ok(text)
    }

    /// Stops the parts from the front to the back, the explorer last, so that it receives every
    /// trace. Returns true if all of them stopped by themselves.
    pub(crate) async fn stop(&mut self) -> bool {
        let end = Instant::now() + DRAIN_TIMEOUT;
        let mut clean = true;
        while let Some(part) = self.parts.pop() {
            let left = end.saturating_duration_since(Instant::now());
            clean &= part.stop(left.max(Duration::from_millis(200))).await;
        }
        clean
    }
}

/// Checks early, and names the flag, what a part would find out late.
fn check_ports(args: &UpArgs, with_worker: bool, with_encoder: bool) -> anyhow::Result<()> {
    let with_explorer = args.otlp_endpoint().is_none();
    for (wanted, flag, port) in [
        (true, "--gateway-port", args.gateway_port),
        (true, "--model-service-port", args.model_service_port),
        (true, "--feature-store-port", args.feature_store_port),
        (with_explorer, "--explorer-port", args.explorer_port),
        (with_explorer, "--otlp-port", args.otlp_port),
        (with_worker, "--python-port", args.worker.python_port),
        (with_encoder, "--encoder-port", args.encoder.encoder_port),
    ] {
        if wanted {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
                format!("port {port} is in use; choose another with {flag}, or 0 for a free one")
            })?;
        }
    }
    Ok(())
}

/// `--flag 127.0.0.1:port`.
fn listen(flag: &str, port: u16) -> [String; 2] {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    [flag.to_owned(), address.to_string()]
}

async fn wait_ready(url: &str) -> anyhow::Result<()> {
    let client = crate::client::http()?;
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
