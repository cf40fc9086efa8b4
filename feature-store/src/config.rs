//! The options of the process; the comments are its `--help`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use runtime::ProcessOptions;

use crate::backend::{Database, RedisOptions};

/// Options of the feature store.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    /// Address to answer on
    #[arg(
        long,
        env = "FEATURE_STORE_LISTEN",
        default_value = "127.0.0.1:6566",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,
    #[command(flatten)]
    /// Where the features are stored
    pub storage: StorageOptions,
    /// Rows that are kept in memory; 0 keeps none
    #[arg(
        long,
        env = "FEATURE_STORE_CACHE_CAPACITY",
        default_value_t = 50_000,
        value_name = "ROWS"
    )]
    pub cache_capacity: usize,
    /// Time after which a row in memory is read again, so that writes of other processes are seen
    #[arg(long, env = "FEATURE_STORE_CACHE_MAX_AGE", default_value = "5s", value_parser = runtime::duration, value_name = "TIME")]
    pub cache_max_age: Duration,
    /// Inject the faults that the baggage of a request asks for; never in production
    #[arg(long, env = "THROUGHLINE_ALLOW_FAULTS")]
    pub allow_faults: bool,
    #[command(flatten)]
    /// Options that every part has
    pub process: ProcessOptions,
}

/// Where the features are stored and which views there are.
#[derive(clap::Args, Clone, Debug)]
pub struct StorageOptions {
    /// Where the features are stored: a file, which is created if it is missing,
    /// `redis://HOST:PORT`, `rediss://…` with TLS, or `redis+cluster://HOST:PORT,…`
    #[arg(
        long,
        env = "FEATURE_STORE_DATABASE",
        hide_env_values = true,
        allow_hyphen_values = true,
        default_value = ".throughline/features.db",
        value_name = "PATH|URL"
    )]
    pub database: Database,
    /// Options of Redis
    #[command(flatten)]
    pub redis: RedisOptions,
    /// TOML file that declares the feature views [default: the wine features]
    #[arg(long, env = "FEATURE_STORE_FEATURE_VIEWS", value_name = "PATH")]
    pub feature_views: Option<PathBuf>,
    /// Folder of more such files, one or more views each; a running feature store reads what comes
    /// and what changes [default: feature-views beside the database file; none with Redis]
    #[arg(long, env = "FEATURE_STORE_FEATURE_VIEW_FOLDER", value_name = "DIR")]
    pub feature_view_folder: Option<PathBuf>,
    /// How far beyond this machine's clock the event time of a row may lie; such a row would refuse
    /// every later write of its entity
    #[arg(long, env = "FEATURE_STORE_MAX_FUTURE", default_value = "1d", value_parser = runtime::duration, value_name = "TIME")]
    pub max_future: Duration,
}

impl StorageOptions {
    /// The folder of more views.
    pub fn view_folder(&self) -> Option<PathBuf> {
        match (&self.feature_view_folder, &self.database) {
            (Some(folder), _) => Some(folder.clone()),
            (None, Database::File(file)) => Some(file.with_file_name("feature-views")),
            (None, Database::Redis(_) | Database::Wrong(_)) => None,
        }
    }
}
