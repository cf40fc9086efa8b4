//! The start of the explorer and of each service in Rust: their options and their addresses.

use super::{LocalSystem, encoder, listen, worker};
use crate::screen;
use crate::up::child::{ChildProcess, ChildSpec};

/// A variable with the address of a database. Everybody on the machine can read arguments, and an
/// address may have a password in it.
type DatabaseVariable = (&'static str, String);

impl LocalSystem {
    pub(super) async fn start_explorer(&mut self) -> anyhow::Result<()> {
        let page = listen("--listen", self.args.explorer_port);
        let otlp = listen("--otlp-listen", self.args.otlp_port);
        let rules = match &self.args.rules {
            Some(rules) => rules.clone(),
            None => self.data.rules()?,
        };
        let rules = ["--rules".to_owned(), rules.display().to_string()];
        // The gateway starts later, and its port may be one that the kernel chooses.
        let gateway = self.data.gateway_address();
        let gateway = ["--gateway".to_owned(), gateway.display().to_string()];
        let options = [page, otlp, rules, gateway].concat();
        let mut part = self.spawn("explorer", options, None)?;
        let url = part.url("server.listening").await?;
        let otlp = part.url("explorer.otlp_listening").await?;
        self.add(part);
        self.explorer = Some(url);
        self.set_env("OTEL_EXPORTER_OTLP_ENDPOINT", &otlp);
        // The user watches the terminal, so telemetry should arrive fast.
        for (variable, milliseconds) in [
            ("OTEL_BSP_SCHEDULE_DELAY", "200"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "200"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
        ] {
            if std::env::var_os(variable).is_none() {
                self.set_env(variable, milliseconds);
            }
        }
        Ok(())
    }

    pub(super) async fn start_feature_store(&mut self) -> anyhow::Result<String> {
        let mut args = listen("--listen", self.args.feature_store_port).to_vec();
        args.extend([
            "--feature-view-folder".to_owned(),
            self.data.feature_views().display().to_string(),
        ]);
        let database = ("FEATURE_STORE_DATABASE", self.feature_address());
        self.start_service("feature-store", args, Some(database))
            .await
    }

    pub(super) async fn start_model_service(
        &mut self,
        feature_store: &str,
    ) -> anyhow::Result<String> {
        let mut args = listen("--listen", self.args.model_service_port).to_vec();
        args.extend([
            "--model-repository".to_owned(),
            self.data.models().display().to_string(),
        ]);
        args.extend(["--feature-store".to_owned(), feature_store.to_owned()]);
        // It listens on loopback, and whoever is on this machine can write the folder anyway.
        args.push("--allow-model-control".to_owned());
        self.start_service("model-service", args, None).await
    }

    pub(super) async fn start_gateway(&mut self, model_service: &str) -> anyhow::Result<String> {
        let mut args = listen("--listen", self.args.gateway_port).to_vec();
        args.extend(["--model-service".to_owned(), model_service.to_owned()]);
        if let Some(worker) = &self.worker {
            args.push("--model-service".to_owned());
            args.push(format!("{}={worker}", worker::VARIANT));
        }
        if let Some(encoder) = &self.encoder {
            args.push("--model-service".to_owned());
            args.push(format!("{}={encoder}", encoder::SERVICE));
        }
        let routes = match &self.args.routes {
            Some(routes) => Some(routes.clone()),
            None => self
                .data
                .routes(self.worker.is_some(), self.encoder.is_some())?,
        };
        if let Some(routes) = routes {
            args.extend(["--routes".to_owned(), routes.display().to_string()]);
        }
        let store = match &self.args.prediction_store {
            Some(store) => store.clone(),
            None => self.data.predictions().display().to_string(),
        };
        let database = Some(("PREDICTION_STORE", store));
        let url = self.start_service("gateway", args, database).await?;
        self.data.write_gateway_address(&url)?;
        Ok(url)
    }

    /// Starts a service and waits until it listens.
    async fn start_service(
        &mut self,
        name: &'static str,
        mut args: Vec<String>,
        database: Option<DatabaseVariable>,
    ) -> anyhow::Result<String> {
        if !self.args.no_faults {
            args.push("--allow-faults".to_owned());
        }
        let part = self.spawn(name, args, database)?;
        self.listening(part).await
    }

    /// Waits until a service listens, prints its address and returns it.
    pub(super) async fn listening(&mut self, mut part: ChildProcess) -> anyhow::Result<String> {
        let url = part.url("server.listening").await?;
        let (name, pid) = (part.name(), part.pid().unwrap_or_default());
        screen::say(format!("{name:<22}{url:<24} pid {pid}"));
        self.add(part);
        Ok(url)
    }

    /// Adds a running part. From now on its death is reported.
    fn add(&mut self, part: ChildProcess) {
        part.report_death(self.deaths.clone());
        self.parts.push(part);
    }

    /// Starts the subcommand `name`, which runs until the system stops.
    fn spawn(
        &self,
        name: &'static str,
        options: Vec<String>,
        database: Option<DatabaseVariable>,
    ) -> anyhow::Result<ChildProcess> {
        self.spawn_as(name, name, options, database)
    }

    /// The same under another name than that of the subcommand.
    pub(super) fn spawn_as(
        &self,
        name: &'static str,
        subcommand: &str,
        options: Vec<String>,
        database: Option<DatabaseVariable>,
    ) -> anyhow::Result<ChildProcess> {
        let mut args = vec![subcommand.to_owned()];
        args.extend(options);
        // A dead collector may delay each part's last flush by a second at most, so that Ctrl-C
        // ends within five.
        args.extend(["--exit-with-parent", "--flush-timeout", "1s"].map(str::to_owned));
        let database = database.map(|(variable, address)| (variable.to_owned(), address));
        ChildProcess::start(&ChildSpec {
            name,
            program: None,
            args,
            env: self.env.iter().cloned().chain(database).collect(),
            folder: None,
            log: self.data.log(name),
        })
    }
}
