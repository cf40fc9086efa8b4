//! The commands and their options; the doc comments are the `--help`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Machine-learning serving, observable end to end: one trace, from the gateway to the tensor.
#[derive(Debug, Parser)]
#[command(name = "throughline", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything on this machine (the default)
    Up(UpOptions),
    /// Train a model and write a new version into the model repository
    Train(TrainOptions),
    /// Print one trace as a waterfall
    Trace(TraceOptions),
    /// List the newest traces
    Traces(TracesOptions),
    /// Measure speed, CPU time and memory of the whole system, with telemetry on and off
    Bench(BenchOptions),
    /// Run the gateway alone
    Gateway(Box<gateway::Config>),
    /// Run the model service alone
    ModelService(Box<model_service::Config>),
    /// Run the feature store alone, or load a file into it
    #[command(args_conflicts_with_subcommands = true)]
    FeatureStore {
        #[command(flatten)]
        config: Box<feature_store::Config>,
        #[command(subcommand)]
        command: Option<FeatureStoreCommand>,
    },
    /// Run the explorer alone
    Explorer(Box<explorer::Config>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum FeatureStoreCommand {
    /// Load a CSV file into a feature view
    Load(feature_store::load::LoadConfig),
}

impl Default for Command {
    /// `throughline` alone is `throughline up` with what the environment says.
    fn default() -> Self {
        let parsed = Cli::parse_from(["throughline", "up"]);
        parsed.command.unwrap_or_else(|| unreachable!("`up` was given"))
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct UpOptions {
    /// Stop after the sample requests; the exit status is 0 only if both traces were complete
    #[arg(long)]
    pub(crate) once: bool,
    /// Where data, models and logs are kept
    #[arg(long, env = "THROUGHLINE_DATA_DIR", default_value = ".throughline", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Send telemetry there instead of to the explorer (the standard variable does the same)
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Where predictions are stored: a file, or http(s) addresses of Elasticsearch with commas; without it a file in
    /// the data folder
    #[arg(long, env = "PREDICTION_STORE", value_name = "PATH|URL")]
    pub(crate) prediction_store: Option<String>,
    /// Port of the gateway; 0 takes a free one
    #[arg(long, env = "THROUGHLINE_GATEWAY_PORT", default_value_t = 8080, value_name = "PORT")]
    pub(crate) gateway_port: u16,
    /// Port of the model service; 0 takes a free one
    #[arg(long, env = "THROUGHLINE_MODEL_SERVICE_PORT", default_value_t = 8000, value_name = "PORT")]
    pub(crate) model_service_port: u16,
    /// Port of the feature store; 0 takes a free one
    #[arg(long, env = "THROUGHLINE_FEATURE_STORE_PORT", default_value_t = 6566, value_name = "PORT")]
    pub(crate) feature_store_port: u16,
    /// Port of the explorer's page; 0 takes a free one
    #[arg(long, env = "THROUGHLINE_EXPLORER_PORT", default_value_t = 8090, value_name = "PORT")]
    pub(crate) explorer_port: u16,
    /// Port of the explorer's OTLP/HTTP receiver; 0 takes a free one
    #[arg(long, env = "THROUGHLINE_OTLP_PORT", default_value_t = 4318, value_name = "PORT")]
    pub(crate) otlp_port: u16,
    /// Ignore faults that requests carry in their baggage
    #[arg(long)]
    pub(crate) no_faults: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TrainOptions {
    /// The model to train
    #[arg(value_parser = ["wine_quality"])]
    pub(crate) model: String,
    /// The data set, a CSV file; without it the one that is built in
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// Where versions of models are kept
    #[arg(long, env = "MODEL_REPOSITORY", default_value = ".throughline/models", value_name = "DIR")]
    pub(crate) model_repository: PathBuf,
    /// Seed of the split and of the first weights; the same seed gives the same weights
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    /// Do nothing if the repository has a version already
    #[arg(long)]
    pub(crate) if_missing: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TraceOptions {
    /// The trace: 32 hex digits, or a whole traceparent or traceresponse value
    pub(crate) trace_id: String,
    #[command(flatten)]
    pub(crate) explorer: ExplorerOptions,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TracesOptions {
    /// Only traces with a span of this service
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Only traces of this model
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Only traces that took at least this many milliseconds
    #[arg(long, value_name = "MS")]
    pub(crate) min_duration_ms: Option<u64>,
    /// Only traces with this status: ok or error
    #[arg(long, value_parser = ["ok", "error"])]
    pub(crate) status: Option<String>,
    /// How many
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) explorer: ExplorerOptions,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ExplorerOptions {
    /// Address of the explorer
    #[arg(long, env = "EXPLORER_URL", default_value = "http://127.0.0.1:8090", value_name = "URL")]
    pub(crate) explorer: String,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BenchOptions {
    /// Requests of each measurement
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub(crate) requests: usize,
    /// Connections that send them
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub(crate) connections: usize,
    /// Where predictions are stored: addresses of Elasticsearch; without it a file for each system
    #[arg(long, value_name = "URL")]
    pub(crate) prediction_store: Option<String>,
    /// How often each measurement is repeated; the median is printed
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) rounds: usize,
}
