//! The options of `throughline check`; the doc comments are the `--help`.

use std::time::Duration;

use clap::Args;

use crate::address::{self, GatewayArgs};

/// Where the gateway is, and where its telemetry ends up.
#[derive(Clone, Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Provoke the alert rules, too: failed and slow requests on purpose, so whoever gets the
    /// alerts is alerted
    #[arg(long)]
    pub(crate) rules: bool,
    /// Kibana that has the rules of deploy/elastic, to see with --rules that they fire; its key is
    /// in `KIBANA_API_KEY`
    #[arg(long, env = "KIBANA_URL", hide_env_values = true, value_parser = address::http, value_name = "URL")]
    pub(crate) kibana: Option<String>,
    /// Predictions to compute, so that each stage has durations
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) requests: u32,
    /// How long telemetry may take to arrive; by default metrics leave a service once a minute
    #[arg(long, default_value = "90s", value_parser = runtime::duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// Print an array of rows in JSON instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

/// The place where the telemetry is looked for. No `env` of clap here: a variable that is set must
/// not conflict with a flag that names another place.
#[derive(Clone, Debug, Args)]
#[group(required = false, multiple = false)]
pub(crate) struct PlaceArgs {
    /// Look in an explorer: traces, metrics and logs [env: `EXPLORER_URL`] [default:
    /// that of `throughline up`]
    #[arg(long, value_parser = address::http, value_name = "URL")]
    pub(crate) explorer: Option<String>,
    /// Look in Elasticsearch: traces, metrics and logs; its key is in `ELASTICSEARCH_API_KEY` [env:
    /// `ELASTICSEARCH_URL`]
    #[arg(long, value_parser = address::http, value_name = "URL")]
    pub(crate) elasticsearch: Option<String>,
    /// Look in Jaeger: traces, since it keeps nothing else [env: `JAEGER_URL`]
    #[arg(long, value_parser = address::http, value_name = "URL")]
    pub(crate) jaeger: Option<String>,
}
