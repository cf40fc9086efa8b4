//! The commands and their options; the doc comments are the `--help`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use explorer::export::Format;
use runtime::PartCommand;

use crate::address::{ExplorerArgs, GatewayArgs};
use crate::check::CheckArgs;
use crate::feedback::FeedbackArgs;
use crate::learn::LearnArgs;
use crate::load::LoadArgs;
use crate::model::ModelCommand;
use crate::runs::RunsArgs;
use crate::train::TrainArgs;

/// Machine-learning serving, observable end to end: one trace, from the gateway to the tensor.
#[derive(Debug, Parser)]
#[command(name = "throughline", version, about, after_help = crate::client::HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything on this machine (the default)
    Up(Box<UpArgs>),
    /// Train models and write a new version of each into the model repository
    Train(Box<TrainArgs>),
    /// List the trainings of the models in the repository, or compare some
    Runs(RunsArgs),
    /// Make an earlier version of a model the one that answers, without a restart
    Rollback(RollbackArgs),
    /// Add a model that was trained elsewhere
    #[command(subcommand)]
    Model(ModelCommand),
    /// Create the environment of the Python worker, which `up` then starts as the variant `canary`
    PythonSetup(PythonSetupArgs),
    /// Get the weights of a sentence encoder, on which `up` then serves `text_sentiment` as the variant
    /// `canary`
    TextSetup(TextSetupArgs),
    /// Send a deployment sample requests, a miss and a hit and a text, and print their traces
    Sample(SampleArgs),
    /// Compare the variants of the models
    Variants(VariantsArgs),
    /// Print one trace as a waterfall
    Trace(TraceArgs),
    /// List the newest traces
    Traces(TracesArgs),
    /// Show the rules that the explorer evaluates, or write them for Prometheus
    Rules(RulesArgs),
    /// Serve the telemetry of the running system as tools for coding agents (Model Context Protocol on
    /// standard input and output)
    Mcp(McpArgs),
    /// Walk through a chapter of the tutorial; your own traces say when a step is done
    Learn(LearnArgs),
    /// Measure speed, CPU time and memory of the whole system, with telemetry on and off
    Bench(BenchArgs),
    /// Check a deployment: its answers, and its telemetry where that ends up
    Check(Box<CheckArgs>),
    /// Send requests at a given rate, and measure
    Load(Box<LoadArgs>),
    /// Send the true labels of the wines that the training held out, and print the quality
    Feedback(FeedbackArgs),
    /// Run the gateway alone
    Gateway {
        #[command(flatten)]
        config: Box<gateway::Config>,
        #[command(subcommand)]
        command: Option<PartCommand>,
    },
    /// Make the API keys that `gateway --api-keys` wants
    #[command(subcommand)]
    ApiKey(gateway::keys::create::KeyCommand),
    /// Run the model service alone
    ModelService {
        #[command(flatten)]
        config: Box<model_service::Config>,
        #[command(subcommand)]
        command: Option<PartCommand>,
    },
    /// Run the feature store alone, or write a file of rows into it
    #[command(args_conflicts_with_subcommands = true)]
    FeatureStore {
        #[command(flatten)]
        config: Box<feature_store::Config>,
        #[command(subcommand)]
        command: Option<FeatureStoreCommand>,
    },
    /// Run the explorer alone
    Explorer {
        #[command(flatten)]
        config: Box<explorer::Config>,
        #[command(subcommand)]
        command: Option<PartCommand>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum FeatureStoreCommand {
    /// Write a file of rows into a feature view
    Materialize(Box<feature_store::materialize::MaterializeConfig>),
    /// Delete the rows of entities, such as those with an event time in the far future
    Delete(Box<feature_store::delete::DeleteConfig>),
    #[command(flatten)]
    Part(PartCommand),
}

impl Default for Command {
    /// `throughline` alone is `throughline up` with the variables of the environment.
    fn default() -> Self {
        let parsed = Cli::parse_from(["throughline", "up"]);
        parsed
            .command
            .unwrap_or_else(|| unreachable!("the arguments name `up`"))
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct UpArgs {
    /// Stop after the sample requests; the exit status is 0 only if all traces were complete
    #[arg(long)]
    pub(crate) once: bool,
    /// Where data, models and logs are kept
    #[arg(
        long,
        env = "THROUGHLINE_DATA_DIR",
        default_value = ".throughline",
        value_name = "DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// Send telemetry to this endpoint instead of to the explorer
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Where predictions are stored: a file, or http(s) addresses of Elasticsearch separated by
    /// commas; without it a file in the data folder
    #[arg(
        long,
        env = "PREDICTION_STORE",
        hide_env_values = true,
        value_name = "PATH|URL"
    )]
    pub(crate) prediction_store: Option<String>,
    /// Where features are stored: a file, or an address of Redis; without it a file in the data
    /// folder
    #[arg(
        long,
        env = "FEATURE_STORE_DATABASE",
        hide_env_values = true,
        value_name = "PATH|URL"
    )]
    pub(crate) feature_store_database: Option<String>,
    /// Port of the gateway; 0 takes a free one
    #[arg(
        long,
        env = "THROUGHLINE_GATEWAY_PORT",
        default_value_t = 8080,
        value_name = "PORT"
    )]
    pub(crate) gateway_port: u16,
    /// Port of the model service; 0 takes a free one
    #[arg(
        long,
        env = "THROUGHLINE_MODEL_SERVICE_PORT",
        default_value_t = 8000,
        value_name = "PORT"
    )]
    pub(crate) model_service_port: u16,
    /// Port of the feature store; 0 takes a free one
    #[arg(
        long,
        env = "THROUGHLINE_FEATURE_STORE_PORT",
        default_value_t = 6566,
        value_name = "PORT"
    )]
    pub(crate) feature_store_port: u16,
    /// Port of the explorer's page; 0 takes a free one
    #[arg(
        long,
        env = "THROUGHLINE_EXPLORER_PORT",
        default_value_t = 8090,
        value_name = "PORT"
    )]
    pub(crate) explorer_port: u16,
    /// Port of the explorer's OTLP/HTTP receiver; 0 takes a free one
    #[arg(
        long,
        env = "THROUGHLINE_OTLP_PORT",
        default_value_t = 4318,
        value_name = "PORT"
    )]
    pub(crate) otlp_port: u16,
    /// Rules that the explorer evaluates [default: rules.toml in the data folder, which is written
    /// once]
    #[arg(long, env = "EXPLORER_RULES", value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
    /// How requests are shared among the variants of a model; without it, if the Python worker or an
    /// encoder runs, a file in the data folder
    #[arg(long, env = "GATEWAY_ROUTES", value_name = "FILE")]
    pub(crate) routes: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) worker: WorkerArgs,
    #[command(flatten)]
    pub(crate) encoder: EncoderArgs,
    /// Ignore faults that requests carry in their baggage
    #[arg(long)]
    pub(crate) no_faults: bool,
}

/// The Python worker.
#[derive(Clone, Debug, Args)]
pub(crate) struct WorkerArgs {
    /// Fail without the Python worker; by default it is started if its environment is there
    #[arg(long, conflicts_with = "no_python")]
    pub(crate) python: bool,
    /// Leave the Python worker out
    #[arg(long)]
    pub(crate) no_python: bool,
    /// Environment of the Python worker [default: python in the data folder]
    #[arg(long, env = "THROUGHLINE_PYTHON_ENVIRONMENT", value_name = "DIR")]
    pub(crate) python_environment: Option<PathBuf>,
    /// Port of the Python worker; 0 takes a free one
    #[arg(
        long,
        env = "THROUGHLINE_PYTHON_PORT",
        default_value_t = 8001,
        value_name = "PORT"
    )]
    pub(crate) python_port: u16,
}

/// The encoder as a second variant of `text_sentiment`.
#[derive(Clone, Debug, Args)]
pub(crate) struct EncoderArgs {
    /// Leave the encoder out; by default its variant is started if its folder is there
    #[arg(long, conflicts_with = "encoder")]
    pub(crate) no_encoder: bool,
    /// Folder of the encoder [default: encoder in the data folder]
    #[arg(long, env = "THROUGHLINE_ENCODER", value_name = "DIR")]
    pub(crate) encoder: Option<PathBuf>,
    /// Port of the model service with the encoder; 0 takes a free one
    #[arg(
        long,
        env = "THROUGHLINE_ENCODER_PORT",
        default_value_t = 8002,
        value_name = "PORT"
    )]
    pub(crate) encoder_port: u16,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PythonSetupArgs {
    /// Where `up` keeps its data; the environment is created in it
    #[arg(
        long,
        env = "THROUGHLINE_DATA_DIR",
        default_value = ".throughline",
        value_name = "DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// The environment itself [default: python in the data folder]
    #[arg(long, env = "THROUGHLINE_PYTHON_ENVIRONMENT", value_name = "DIR")]
    pub(crate) python_environment: Option<PathBuf>,
    /// The Python to use, 3.10 or newer, with the extra 3.11 [default: the first that is found]
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) python: Option<String>,
    /// Install libraries that not everybody needs, too
    #[arg(long, value_enum)]
    pub(crate) extra: Option<Extra>,
}

/// Libraries beside those of the Python worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Extra {
    /// For `train --workers`: about 400 MB
    Jax,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SampleArgs {
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
    #[command(flatten)]
    pub(crate) explorer: ExplorerArgs,
    /// Print no traces: the telemetry goes elsewhere
    #[arg(long, env = "THROUGHLINE_NO_EXPLORER")]
    pub(crate) no_explorer: bool,
    /// Wait for the variant `canary` too; without this it is part of the sample if it is there
    #[arg(long)]
    pub(crate) canary: bool,
    /// Time for the gateway and every variant of the model to be ready
    #[arg(long, env = "THROUGHLINE_SAMPLE_WAIT", default_value = "10s", value_parser = runtime::duration, value_name = "TIME")]
    pub(crate) wait: Duration,
    /// Time for each trace to be complete at the explorer
    #[arg(long, default_value = "30s", value_parser = runtime::duration, value_name = "TIME")]
    pub(crate) trace_timeout: Duration,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct VariantsArgs {
    /// Only this model
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

impl UpArgs {
    /// The folder of the Python worker's environment.
    pub(crate) fn environment(&self) -> PathBuf {
        environment(self.worker.python_environment.as_deref(), &self.data_dir)
    }

    /// The folder of the encoder.
    pub(crate) fn encoder_folder(&self) -> PathBuf {
        encoder_folder(self.encoder.encoder.as_deref(), &self.data_dir)
    }

    /// Where telemetry goes instead of to the explorer. An empty standard variable counts as unset.
    pub(crate) fn otlp_endpoint(&self) -> Option<&str> {
        let url = self.otlp_endpoint.as_deref();
        url.filter(|url| !url.trim().is_empty())
    }
}

impl PythonSetupArgs {
    /// The folder of the environment.
    pub(crate) fn environment(&self) -> PathBuf {
        environment(self.python_environment.as_deref(), &self.data_dir)
    }
}

impl TextSetupArgs {
    /// The folder to put the encoder into.
    pub(crate) fn folder(&self) -> PathBuf {
        encoder_folder(self.encoder.as_deref(), &self.data_dir)
    }
}

fn encoder_folder(named: Option<&Path>, data_dir: &Path) -> PathBuf {
    named.map_or_else(|| data_dir.join("encoder"), Path::to_path_buf)
}

pub(crate) fn environment(named: Option<&Path>, data_dir: &Path) -> PathBuf {
    named.map_or_else(|| data_dir.join("python"), Path::to_path_buf)
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TextSetupArgs {
    /// Where `up` keeps its data; the encoder is put into it
    #[arg(
        long,
        env = "THROUGHLINE_DATA_DIR",
        default_value = ".throughline",
        value_name = "DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// The folder to put the encoder into [default: encoder in the data folder]
    #[arg(long, env = "THROUGHLINE_ENCODER", value_name = "DIR")]
    encoder: Option<PathBuf>,
    /// The Python to use, 3.10 or newer, with pip [default: the first that is found]
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) python: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The model
    pub(crate) model: String,
    /// The version that shall answer, or `newest`; without it the highest below the one that answers
    /// now
    #[arg(long, value_name = "VERSION", value_parser = rollback_target)]
    pub(crate) to: Option<RollbackTarget>,
    /// Where versions of models are kept
    #[arg(
        long,
        env = "MODEL_REPOSITORY",
        default_value = ".throughline/models",
        value_name = "DIR"
    )]
    pub(crate) model_repository: PathBuf,
}

/// What `rollback --to` names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RollbackTarget {
    Version(u64),
    /// Whatever is the newest, now and later.
    Newest,
}

fn rollback_target(text: &str) -> Result<RollbackTarget, String> {
    match (text, text.parse()) {
        ("newest", _) => Ok(RollbackTarget::Newest),
        (_, Ok(version)) => Ok(RollbackTarget::Version(version)),
        _ => Err("the number of a version or `newest` is needed".to_owned()),
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TraceArgs {
    /// The trace: 32 hex digits, or a whole traceparent or traceresponse value
    pub(crate) trace_id: String,
    /// How long to wait for spans that are still on their way: every process exports on its own
    /// schedule
    #[arg(long, default_value = "10s", value_parser = runtime::duration, value_name = "TIME")]
    pub(crate) wait: Duration,
    /// Print a picture (SVG) instead of text
    #[arg(long)]
    pub(crate) svg: bool,
    /// Print a file for other tools instead: perfetto (Chrome trace JSON for ui.perfetto.dev), html (one
    /// page that needs nothing else) or otlp (OTLP/JSON)
    #[arg(long, conflicts_with = "svg")]
    pub(crate) format: Option<Format>,
    #[command(flatten)]
    pub(crate) explorer: ExplorerArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TracesArgs {
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
    /// How many traces
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) explorer: ExplorerArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct McpArgs {
    #[command(flatten)]
    pub(crate) explorer: ExplorerArgs,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RulesArgs {
    /// Exit with status 1 if a rule fires
    #[arg(long)]
    pub(crate) fail_if_firing: bool,
    /// Print the changes of states, too
    #[arg(long)]
    pub(crate) history: bool,
    /// Print the rules of a file, by default those of `up`, as a file for Prometheus instead
    #[arg(long, conflicts_with_all = ["fail_if_firing", "history"])]
    pub(crate) prometheus: bool,
    /// The file of rules for --prometheus
    #[arg(long, requires = "prometheus", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) explorer: ExplorerArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// Requests of each measurement
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub(crate) requests: usize,
    /// Connections that send them
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub(crate) connections: usize,
    /// Where predictions are stored: addresses of Elasticsearch; without it a file per system
    #[arg(long, value_name = "URL")]
    pub(crate) prediction_store: Option<String>,
    /// How often each measurement is repeated; the median is printed
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) rounds: usize,
    /// Measure the model service alone: waiting requests computed together against one by one
    #[arg(long)]
    pub(crate) batches: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(endpoint: &str) -> UpArgs {
        let parsed = Cli::parse_from(["throughline", "up", "--otlp-endpoint", endpoint]);
        match parsed.command {
            Some(Command::Up(args)) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_empty_endpoint_is_none() {
        assert_eq!(up(" ").otlp_endpoint(), None);
        assert_eq!(
            up("http://collector:4318").otlp_endpoint(),
            Some("http://collector:4318")
        );
    }
}
