//! The address and the options of Redis, and the connections that they describe.

use std::fmt::{self, Debug, Formatter};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError,
    TlsCertificates,
};
use runtime::Secret;

use super::cluster::RedisCluster;
use super::connection::Topology;
use super::node::Connector;
use super::slots::Address;

/// Options of Redis and Valkey, used when `--database` is the address of one.
#[derive(clap::Args, Clone, Debug)]
pub struct RedisOptions {
    /// User of Redis; also in the address
    #[arg(long, env = "REDIS_USERNAME", value_name = "NAME")]
    pub redis_username: Option<String>,
    /// Password of the user, or of a server without users; better in the environment or a file than
    /// among the arguments
    #[arg(
        long,
        env = "REDIS_PASSWORD",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_name = "PASSWORD"
    )]
    pub redis_password: Option<Secret>,
    /// File that holds the password
    #[arg(long, env = "REDIS_PASSWORD_FILE", value_name = "PATH")]
    pub redis_password_file: Option<PathBuf>,
    /// File with the certificates (PEM) that `rediss://` trusts instead of the public authorities
    #[arg(long, env = "REDIS_CA_CERT", value_name = "PATH")]
    pub redis_ca_cert: Option<PathBuf>,
    /// File with the certificate (PEM) that this client shows
    #[arg(long, env = "REDIS_CLIENT_CERT", value_name = "PATH")]
    pub redis_client_cert: Option<PathBuf>,
    /// File with the key (PEM) of that certificate
    #[arg(long, env = "REDIS_CLIENT_KEY", value_name = "PATH")]
    pub redis_client_key: Option<PathBuf>,
    /// What the keys in Redis begin with
    #[arg(
        long,
        env = "REDIS_KEY_PREFIX",
        default_value = "throughline:",
        value_name = "TEXT"
    )]
    pub redis_key_prefix: String,
    /// Time for one call of Redis, connecting and a second try included
    #[arg(long, env = "REDIS_TIMEOUT", default_value = "1s", value_parser = runtime::duration, value_name = "TIME")]
    pub redis_timeout: Duration,
}

/// One server, or some of the nodes of a cluster. Its `Display` and `Debug` texts leave out user
/// and password.
#[derive(Clone, Eq, PartialEq)]
pub struct RedisAddress {
    cluster: bool,
    /// One URL per node for the client, secrets included.
    nodes: Vec<String>,
}

/// The address and the options contradict each other, or a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file that an option names.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The password is given twice.
    #[error("REDIS_PASSWORD and REDIS_PASSWORD_FILE are both set")]
    TwoPasswords,
    /// The certificate or its key is missing.
    #[error("REDIS_CLIENT_CERT and REDIS_CLIENT_KEY belong together")]
    HalfCertificate,
    /// Certificates without TLS.
    #[error("certificates are only used with a rediss:// or valkeys:// address")]
    NoTls,
    /// The client cannot use the address or a certificate.
    #[error("the address or the certificates of Redis cannot be used")]
    Client(#[from] RedisError),
}

/// Attempts to connect that fit into the time for a call.
const ATTEMPTS: u32 = 2;

/// A connection that was silent for this long is dead, even if nobody closed it.
const SILENCE: Duration = Duration::from_secs(10);

impl Default for RedisOptions {
    /// The defaults of the command line.
    fn default() -> Self {
        Self {
            redis_username: None,
            redis_password: None,
            redis_password_file: None,
            redis_ca_cert: None,
            redis_client_cert: None,
            redis_client_key: None,
            redis_key_prefix: "throughline:".to_owned(),
            redis_timeout: Duration::from_secs(1),
        }
    }
}

impl FromStr for RedisAddress {
    type Err = String;

    /// `redis://`, `rediss://`, `valkey://`, `valkeys://`, `unix://`; for a cluster
    /// `redis+cluster://HOST:PORT,...` and the like.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("an address of Redis begins with redis:// or rediss://")?;
        let cluster = ["+cluster", "-cluster"]
            .iter()
            .find_map(|suffix| scheme.strip_suffix(suffix));
        let scheme = cluster.unwrap_or(scheme);
        // The message repeats nothing of the text: a password may be anywhere in a wrong one.
        match scheme {
            "redis" | "rediss" | "valkey" | "valkeys" => {}
            "unix" | "redis+unix" | "valkey+unix" if cluster.is_none() => {
                return Self::checked(false, vec![text.to_owned()]);
            }
            _ => {
                return Err(
                    "the scheme of the address is none of a store of features; use a path, redis://HOST or redis+cluster://HOST,HOST"
                        .to_owned(),
                );
            }
        }
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // What would be taken for the host is the beginning of the password.
        if tail.contains('@') {
            return Err(
                "the characters / ? # of a user or password must be percent-encoded".to_owned(),
            );
        }
        let (user, hosts) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(user, hosts)| (Some(user), hosts));
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        let nodes: Vec<String> = hosts
            .split(',')
            .map(|host| format!("{scheme}://{user}{}{tail}", host.trim()))
            .collect();
        if nodes.len() > 1 && cluster.is_none() {
            return Err(format!(
                "several hosts are a cluster: use {scheme}+cluster://"
            ));
        }
        Self::checked(cluster.is_some(), nodes)
    }
}

impl RedisAddress {
    /// Host and port of the server, if the address names only one.
    pub(super) fn server(&self) -> Option<(String, Option<u16>)> {
        let [node] = &self.nodes[..] else { return None };
        match node.as_str().into_connection_info().ok()?.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some((host.clone(), Some(*port)))
            }
            ConnectionAddr::Unix(path) => Some((path.display().to_string(), None)),
            _ => None,
        }
    }

    /// The number of the database.
    pub(super) fn namespace(&self) -> String {
        let info = self
            .nodes
            .first()
            .and_then(|node| node.as_str().into_connection_info().ok());
        info.map_or(0, |info| info.redis_settings().db())
            .to_string()
    }

    /// Checks that the client can read every URL.
    fn checked(cluster: bool, nodes: Vec<String>) -> Result<Self, String> {
        for node in &nodes {
            node.as_str()
                .into_connection_info()
                .map_err(|error| format!("not an address of Redis: {}", without_detail(&error)))?;
        }
        Ok(Self { cluster, nodes })
    }
}

/// The client's error without the part of the address that it repeats.
fn without_detail(error: &RedisError) -> String {
    let text = error.to_string();
    match error.detail() {
        Some(detail) if !detail.is_empty() => text.replace(detail, "***"),
        _ => text,
    }
}

impl Debug for RedisAddress {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let infos = self
            .nodes
            .iter()
            .filter_map(|node| node.as_str().into_connection_info().ok());
        let nodes: Vec<String> = infos.map(|info| info.addr().to_string()).collect();
        write!(
            formatter,
            "{}{}",
            if self.cluster { "cluster of " } else { "" },
            nodes.join(",")
        )
    }
}

/// Prepares the connections that the address and the options describe. Files are read, nothing is
/// sent.
pub(super) fn topology(
    address: &RedisAddress,
    options: &RedisOptions,
) -> Result<Topology, SettingsError> {
    let password = password(options)?;
    let nodes = address
        .nodes
        .iter()
        .map(|node| connection_info(node, options, password.as_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    let certificates = certificates(options)?;
    // All nodes have one scheme, so the first stands for all.
    let Some(first) = nodes.first() else {
        return Err(SettingsError::NoTls);
    };
    if certificates.is_some() && !matches!(first.addr(), ConnectionAddr::TcpTls { .. }) {
        return Err(SettingsError::NoTls);
    }
    let connector = Connector {
        info: first.clone(),
        certificates,
        connect_timeout: options.redis_timeout / ATTEMPTS,
    };
    // Made for a cluster, too, so that a wrong certificate is an error now and not of the first
    // call.
    let single = connector.node_at(first.addr().clone())?;
    if !address.cluster {
        return Ok(Topology::Single(single));
    }
    let seeds = nodes.iter().filter_map(host_and_port).collect();
    Ok(Topology::Cluster(RedisCluster::new(seeds, connector)))
}

fn host_and_port(info: &ConnectionInfo) -> Option<Address> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    }
}

fn connection_info(
    node: &str,
    options: &RedisOptions,
    password: Option<&Secret>,
) -> Result<ConnectionInfo, RedisError> {
    let info = node.into_connection_info()?;
    let mut redis = info
        .redis_settings()
        .clone()
        .set_lib_name("throughline", env!("CARGO_PKG_VERSION"));
    if let Some(name) = &options.redis_username {
        redis = redis.set_username(name);
    }
    if let Some(password) = password {
        redis = redis.set_password(password.reveal());
    }
    let probes = TcpKeepalive::new()
        .with_time(SILENCE / 2)
        .with_interval(SILENCE / 4)
        .with_retries(2);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(probes)
        .set_user_timeout(SILENCE);
    Ok(info.set_redis_settings(redis).set_tcp_settings(tcp))
}

fn password(options: &RedisOptions) -> Result<Option<Secret>, SettingsError> {
    match (&options.redis_password, &options.redis_password_file) {
        (Some(_), Some(_)) => Err(SettingsError::TwoPasswords),
        (Some(password), None) => Ok(Some(password.clone())),
        // Editors end a file with a newline, which is not part of the password.
        (None, Some(path)) => Ok(Some(Secret::new(
            String::from_utf8_lossy(&read(path)?).trim_end_matches(['\r', '\n']),
        ))),
        (None, None) => Ok(None),
    }
}

fn certificates(options: &RedisOptions) -> Result<Option<TlsCertificates>, SettingsError> {
    let root_cert = options.redis_ca_cert.as_deref().map(read).transpose()?;
    let client_tls = match (&options.redis_client_cert, &options.redis_client_key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(ClientTlsConfig {
            client_cert: read(certificate)?,
            client_key: read(key)?,
        }),
        _ => return Err(SettingsError::HalfCertificate),
    };
    let any = root_cert.is_some() || client_tls.is_some();
    Ok(any.then_some(TlsCertificates {
        client_tls,
        root_cert,
    }))
}

fn read(path: &Path) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|source| SettingsError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
