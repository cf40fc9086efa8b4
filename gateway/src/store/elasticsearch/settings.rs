//! The options of an Elasticsearch cluster: addresses, credentials, time limits.

use std::convert::Infallible;
use std::fmt::{self, Debug, Display, Formatter};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use elasticsearch::auth::Credentials;
use elasticsearch::cert::Certificate;
use percent_encoding::percent_decode_str;
use runtime::Secret;
use url::Url;

use super::SetupError;
use crate::parse::{http_url, positive_time};

/// Options of the prediction store on Elasticsearch; other stores ignore them.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct ElasticsearchOptions {
    /// Addresses of the nodes, separated by commas, for `--prediction-store elasticsearch`
    #[arg(
        long,
        env = "ELASTICSEARCH_URL",
        hide_env_values = true,
        value_name = "URLS"
    )]
    pub elasticsearch_url: Option<Addresses>,
    /// Alias of the index that keeps the predictions; the index itself is ALIAS-v1
    #[arg(long, env = "ELASTICSEARCH_INDEX", default_value = "predictions", value_parser = alias, value_name = "ALIAS")]
    pub elasticsearch_index: String,
    /// User of the cluster
    #[arg(long, env = "ELASTICSEARCH_USERNAME", value_name = "NAME")]
    pub elasticsearch_username: Option<String>,
    /// Password of the user; better in the environment or a file than among the arguments
    #[arg(
        long,
        env = "ELASTICSEARCH_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    pub elasticsearch_password: Option<Secret>,
    /// File that holds the password
    #[arg(long, env = "ELASTICSEARCH_PASSWORD_FILE", value_name = "PATH")]
    pub elasticsearch_password_file: Option<PathBuf>,
    /// API key, encoded or as ID:KEY
    #[arg(
        long,
        env = "ELASTICSEARCH_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub elasticsearch_api_key: Option<Secret>,
    /// File that holds the API key
    #[arg(long, env = "ELASTICSEARCH_API_KEY_FILE", value_name = "PATH")]
    pub elasticsearch_api_key_file: Option<PathBuf>,
    /// Bearer token, of a service account for example
    #[arg(
        long,
        env = "ELASTICSEARCH_BEARER_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub elasticsearch_bearer_token: Option<Secret>,
    /// File that holds the bearer token
    #[arg(long, env = "ELASTICSEARCH_BEARER_TOKEN_FILE", value_name = "PATH")]
    pub elasticsearch_bearer_token_file: Option<PathBuf>,
    /// File with the certificates (PEM) of the authority that signed the nodes' certificates
    #[arg(long, env = "ELASTICSEARCH_CA_CERT", value_name = "PATH")]
    pub elasticsearch_ca_cert: Option<PathBuf>,
    /// Time for one call with its retries; never more than `--prediction-store-timeout`
    #[arg(long, env = "ELASTICSEARCH_TIMEOUT", value_parser = positive_time, value_name = "TIME")]
    pub elasticsearch_timeout: Option<Duration>,
    /// How often a call is tried again when the cluster is busy or a connection breaks
    #[arg(long, env = "ELASTICSEARCH_RETRIES", default_value_t = 3, value_parser = clap::value_parser!(u32).range(..=10), value_name = "N")]
    pub elasticsearch_retries: u32,
}

/// Addresses of the nodes of one cluster. A user and password in them are used but never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Addresses(Vec<Url>);

impl FromStr for Addresses {
    type Err = Infallible;

    /// A text with anything but `http` and `https` addresses becomes no addresses, which is an
    /// error when the store is opened. Clap's message about a wrong argument would repeat it,
    /// perhaps with a password.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let nodes = text
            .split(',')
            .map(str::trim)
            .filter(|node| !node.is_empty());
        Ok(Self(
            nodes
                .map(http_url)
                .collect::<Result<Vec<_>, _>>()
                .unwrap_or_default(),
        ))
    }
}

impl Addresses {
    /// The addresses without users and passwords.
    pub(super) fn nodes(&self) -> Vec<Url> {
        let mut nodes = self.0.clone();
        for node in &mut nodes {
            // Both fail only for an address without a host, and every http address has one.
            let _ = node.set_username("");
            let _ = node.set_password(None);
        }
        nodes
    }

    /// The user and password of the first address that has them.
    fn credentials(&self) -> Option<Credentials> {
        let node = self.0.iter().find(|node| !node.username().is_empty())?;
        let password = node.password().unwrap_or_default();
        Some(Credentials::Basic(
            decode(node.username()),
            decode(password),
        ))
    }
}

impl Debug for Addresses {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, formatter)
    }
}

impl Display for Addresses {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let nodes: Vec<String> = self.nodes().into_iter().map(String::from).collect();
        formatter.write_str(&nodes.join(","))
    }
}

/// The options of one cluster, checked, and with the contents of the files that they name.
pub(super) struct ClusterSettings {
    pub(super) nodes: Vec<Url>,
    pub(super) alias: String,
    pub(super) credentials: Option<Credentials>,
    pub(super) authority: Option<Vec<u8>>,
    /// For one call with its retries.
    pub(super) timeout: Duration,
    pub(super) retries: u32,
}

impl ClusterSettings {
    /// Checks the options and reads their files. After `limit` nobody waits for a call any more.
    pub(super) fn read(
        addresses: Option<&Addresses>,
        options: &ElasticsearchOptions,
        limit: Duration,
    ) -> Result<Self, SetupError> {
        let addresses = addresses.or(options.elasticsearch_url.as_ref());
        let addresses = addresses
            .filter(|addresses| !addresses.0.is_empty())
            .ok_or(SetupError::NoAddress)?;
        let timeout = options.elasticsearch_timeout.unwrap_or(limit).min(limit);
        Ok(Self {
            nodes: addresses.nodes(),
            alias: options.elasticsearch_index.clone(),
            credentials: credentials(addresses, options)?,
            authority: options
                .elasticsearch_ca_cert
                .as_deref()
                .map(read_file)
                .transpose()?,
            // A little less, so that the call itself times out and its span shows it.
            timeout: timeout.mul_f64(0.95),
            retries: options.elasticsearch_retries,
        })
    }

    /// The certificates of `--elasticsearch-ca-cert`.
    pub(super) fn certificate(&self) -> Result<Option<Certificate>, SetupError> {
        self.authority
            .as_deref()
            .map(Certificate::from_pem)
            .transpose()
            .map_err(SetupError::Authority)
    }
}

fn credentials(
    addresses: &Addresses,
    options: &ElasticsearchOptions,
) -> Result<Option<Credentials>, SetupError> {
    let password = secret(
        options.elasticsearch_password.as_ref(),
        options.elasticsearch_password_file.as_deref(),
    )?;
    let key = secret(
        options.elasticsearch_api_key.as_ref(),
        options.elasticsearch_api_key_file.as_deref(),
    )?;
    let token = secret(
        options.elasticsearch_bearer_token.as_ref(),
        options.elasticsearch_bearer_token_file.as_deref(),
    )?;
    let user = match (&options.elasticsearch_username, password) {
        (Some(name), Some(password)) => Some(Credentials::Basic(name.clone(), password)),
        (None, None) => None,
        _ => return Err(SetupError::HalfUser),
    };
    let given = [user, key.map(api_key), token.map(Credentials::Bearer)];
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (_, Some(_)) => Err(SetupError::TwoCredentials),
        (Some(one), None) => Ok(Some(one)),
        (None, None) => Ok(addresses.credentials()),
    }
}

fn api_key(key: String) -> Credentials {
    match key.split_once(':') {
        Some((id, key)) => Credentials::ApiKey(id.to_owned(), key.to_owned()),
        None => Credentials::EncodedApiKey(key),
    }
}

/// A secret from an option or a file. One that does not fit into a header would fail every call.
fn secret(given: Option<&Secret>, file: Option<&Path>) -> Result<Option<String>, SetupError> {
    let secret = match (given, file) {
        (Some(_), Some(_)) => return Err(SetupError::TwoCredentials),
        (Some(given), None) => given.reveal().to_owned(),
        (None, Some(path)) => String::from_utf8(read_file(path)?)
            .map_err(|_| SetupError::NoText)?
            .trim()
            .to_owned(),
        (None, None) => return Ok(None),
    };
    if secret.is_empty() || secret.chars().any(char::is_control) {
        return Err(SetupError::NoText);
    }
    Ok(Some(secret))
}

fn read_file(path: &Path) -> Result<Vec<u8>, SetupError> {
    std::fs::read(path).map_err(|source| SetupError::File {
        path: path.to_owned(),
        source,
    })
}

/// Undoes the percent-encoding of a user or password in an address.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Checks a name that Elasticsearch accepts for an index and that needs no escaping in a path.
fn alias(text: &str) -> Result<String, String> {
    let allowed = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '-' | '_' | '.');
    if text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(allowed)
    {
        Ok(text.to_owned())
    } else {
        Err("lower-case letters, digits, `-`, `_` and `.`, a letter first".to_owned())
    }
}
