//! The options of the gateway.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

use crate::Error;
use crate::keys::KeyOptions;
use crate::names::{PRIMARY, is_variant_name};
use crate::parse::{http_url, positive_time};
use crate::store::elasticsearch::{Addresses, ElasticsearchOptions};

/// Options of the gateway; each is a flag and an environment variable.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Address of the gateway; port 0 takes a free one
    #[arg(
        long,
        env = "GATEWAY_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,
    /// Where predictions are kept: `sqlite:PATH` or a plain path, `http(s)://NODE[,...]` of
    /// Elasticsearch, or `elasticsearch` for the nodes of `--elasticsearch-url`
    #[arg(
        long,
        env = "PREDICTION_STORE",
        hide_env_values = true,
        default_value = "sqlite:.throughline/predictions.db",
        value_name = "STORE"
    )]
    pub prediction_store: StoreAddress,
    /// Base address of a model service, several times or separated by commas for several variants; a
    /// URL alone is variant `primary`, which has all the traffic unless `--routes` says otherwise.
    /// A user and password in a URL are sent as Basic authorization and never shown
    #[arg(
        long,
        env = "GATEWAY_MODEL_SERVICE",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8000",
        value_delimiter = ',',
        value_name = "[NAME=]URL"
    )]
    pub model_service: Vec<ServiceAddress>,
    /// TOML file with the traffic split of each model among its variants; a change of it is noticed
    #[arg(long, env = "GATEWAY_ROUTES", value_name = "FILE")]
    pub routes: Option<PathBuf>,
    /// How often the file of `--routes` is checked for changes
    #[arg(long, env = "GATEWAY_ROUTES_REFRESH", default_value = "1s", value_parser = positive_time, value_name = "TIME")]
    pub routes_refresh: Duration,
    /// Age at which stored predictions expire, such as 30m or 7d; without it they do not expire
    #[arg(long, env = "PREDICTION_TTL", value_parser = positive_time, value_name = "TIME")]
    pub prediction_ttl: Option<Duration>,
    /// Time for one call of the prediction store; then the model answers without it
    #[arg(long, env = "PREDICTION_STORE_TIMEOUT", default_value = "1s", value_parser = positive_time, value_name = "TIME")]
    pub prediction_store_timeout: Duration,
    /// How often the model services are asked for their models and versions
    #[arg(long, env = "GATEWAY_MODEL_REFRESH", default_value = "2s", value_parser = positive_time, value_name = "TIME")]
    pub model_refresh: Duration,
    /// Requests for predictions that may wait for a model at once; more are refused with 429, and what
    /// is stored is still answered. It must be less than `--max-in-flight`; without it, half of that
    #[arg(long, env = "GATEWAY_MAX_WAITING", value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    pub max_waiting: Option<u32>,
    /// Pieces of feedback about a version that end a window of its quality
    #[arg(long, env = "GATEWAY_QUALITY_WINDOW", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    pub quality_window: u32,
    /// Inject the faults that requests ask for in their baggage
    #[arg(long, env = "THROUGHLINE_ALLOW_FAULTS")]
    pub allow_faults: bool,
    /// Who may use the gateway
    #[command(flatten)]
    pub keys: KeyOptions,
    /// TLS of the calls to the model services
    #[command(flatten)]
    pub tls_client: runtime::TlsClientOptions,
    /// Options of the Elasticsearch cluster
    #[command(flatten)]
    pub elasticsearch: ElasticsearchOptions,
    /// Options that every part has
    #[command(flatten)]
    pub process: runtime::ProcessOptions,
}

impl Config {
    /// How many requests may wait for a model: fewer than may be in flight, where there is room for
    /// a difference. The error is a chosen number that leaves no room.
    pub(crate) fn waiting_limit(&self) -> Result<usize, Error> {
        let in_flight = self.process.max_in_flight;
        let Some(waiting) = self.max_waiting else {
            return Ok((in_flight / 2).max(1));
        };
        match usize::try_from(waiting) {
            Ok(waiting) if waiting < in_flight => Ok(waiting),
            _ => Err(Error::Waiting { waiting, in_flight }),
        }
    }
}

/// The engine of the prediction store and its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// One file.
    Sqlite(PathBuf),
    /// A cluster: these nodes, or those of [`ElasticsearchOptions`].
    Elasticsearch(Option<Addresses>),
    /// An address that cannot be used, and why. It is an error when the store is opened and not a
    /// wrong argument: clap's message about one would repeat it, perhaps with a password.
    Wrong(String),
}

impl FromStr for StoreAddress {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return text.parse().map(|nodes| Self::Elasticsearch(Some(nodes)));
        }
        if text == "elasticsearch" {
            return Ok(Self::Elasticsearch(None));
        }
        let path = text.strip_prefix("sqlite:").unwrap_or(text);
        Ok(match path.split_once("://") {
            _ if path.is_empty() => Self::Wrong(
                "the path of the file is missing, as in sqlite:.throughline/predictions.db"
                    .to_owned(),
            ),
            Some((scheme, _)) => Self::Wrong(format!(
                "`{scheme}` is not a prediction store; use sqlite:PATH or http://NODE"
            )),
            None => Self::Sqlite(PathBuf::from(path)),
        })
    }
}

/// A variant and its model service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAddress {
    /// Name of the variant.
    pub name: String,
    /// Base address of the model service.
    pub url: Url,
}

impl FromStr for ServiceAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // An equals sign in an address comes after its scheme.
        let (name, url) = match text.split_once('=') {
            Some((name, url)) if !name.contains(':') => (name, url),
            _ => (PRIMARY, text),
        };
        if !is_variant_name(name) {
            return Err(format!(
                "`{name}` is not the name of a variant: it has 1 to 64 letters, digits, `_`, `-` and `.`",
                name = runtime::without_secrets(name)
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            url: http_url(url)?,
        })
    }
}
