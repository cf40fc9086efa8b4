//! The options of `throughline load`; the doc comments are the `--help`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ArgPredicate::IsPresent;
use clap::{Args, ValueEnum};

use super::change::Drift;
use super::mix::Mix;
use crate::address::{self, GatewayArgs};

/// What is sent, how often, and for how long.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
    /// Requests per second. They are sent by the clock, whether or not earlier ones are answered
    #[arg(long, default_value_t = 50.0, value_parser = positive, value_name = "PER_SECOND")]
    pub(crate) rate: f64,
    /// How long to send
    #[arg(long, default_value = "30s", value_parser = runtime::duration, value_name = "TIME")]
    pub(crate) duration: Duration,
    /// Gaps between requests: constant, or exponential as those of many independent users
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    pub(crate) arrivals: Arrivals,
    /// Kinds of requests with their weights: hit, miss, batch, text, unknown, missing, shifted,
    /// write. With --drift or --missing only write, by default
    #[arg(
        long,
        default_value = "hit=70,miss=25,batch=5",
        default_value_ifs = [("drift", IsPresent, "write"), ("missing", IsPresent, "write")],
        value_name = "KIND=WEIGHT,…"
    )]
    pub(crate) mix: Mix,
    /// Wines in one request of the kind `batch`
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    pub(crate) batch_size: u32,
    /// Different users, of whom each request names one (`user.id`); 0 names none
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) users: u32,
    /// Ask for this variant only
    #[arg(long, value_name = "NAME")]
    pub(crate) variant: Option<String>,
    /// A fault for some of the requests, such as `feature-store:latency:200` or
    /// `model-service:error`; the parts must run with --allow-faults
    #[arg(long, value_name = "SERVICE:KIND[:ARGUMENT]")]
    pub(crate) fault: Option<String>,
    /// The share of requests with the fault, 0 to 1
    #[arg(long, default_value_t = 0.01, value_parser = share, value_name = "SHARE")]
    pub(crate) fault_share: f64,
    /// Write features and predictions of new entities (the kind `write`, weight 20 if the mix has
    /// none), and read back afterwards each write that was accepted
    #[arg(long, requires = "feature_store")]
    pub(crate) verify_writes: bool,
    /// Shift features of the new wines, which are otherwise like those of the training
    #[arg(long, value_name = "FEATURE±SHIFT,…")]
    pub(crate) drift: Option<Drift>,
    /// The share of new wines that lack their sulphates, 0 to 1
    #[arg(long, value_parser = share, value_name = "SHARE")]
    pub(crate) missing: Option<f64>,
    /// Address of the feature store, for writes; with --drift or --missing by default the one of
    /// `throughline up`
    #[arg(
        long,
        default_value_ifs = [("drift", IsPresent, FEATURE_STORE), ("missing", IsPresent, FEATURE_STORE)],
        env = "FEATURE_STORE_URL",
        hide_env_values = true,
        value_parser = address::http,
        value_name = "URL"
    )]
    pub(crate) feature_store: Option<String>,
    /// The most requests in flight. An arrival that finds no room is sent late, which is counted
    /// and is part of its latency
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=20_000), value_name = "N")]
    pub(crate) max_in_flight: u32,
    /// How long to wait for an answer
    #[arg(long, default_value = "10s", value_parser = runtime::duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// A new connection for each request, so that a load balancer spreads all of them
    #[arg(long)]
    pub(crate) no_keep_alive: bool,
    /// How many requests may fail before the exit status says so
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) max_failed: u64,
    /// Seed of the order of kinds, wines and users
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    /// Print the result as JSON instead of the tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the result as JSON to this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

const FEATURE_STORE: &str = "http://127.0.0.1:6566";

impl LoadArgs {
    /// Whether new wines differ from those of the training.
    pub(super) fn changes_wines(&self) -> bool {
        self.drift.is_some() || self.missing.is_some()
    }
}

/// The gaps between arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrivals {
    Constant,
    Poisson,
}

fn positive(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate > 0.0 && rate <= 1e6 {
        Ok(rate)
    } else {
        Err("must be above 0 and at most 1,000,000".to_owned())
    }
}

pub(crate) fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err("must be between 0 and 1".to_owned())
    }
}
