//! Where the servers are and how they are spoken to.

use std::fmt::{self, Debug, Formatter};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError,
    TlsCertificates,
};
use runtime::Secret;

use super::cluster::Cluster;
use super::link::Servers;
use super::node::Node;
use super::slots::Address;

/// Options of Redis and Valkey, read when `--database` is an address of one.
#[derive(clap::Args, Clone, Debug)]
pub struct RedisOptions {
    /// User of Redis; also in the address
    #[arg(long, env = "REDIS_USERNAME", value_name = "NAME")]
    pub redis_username: Option<String>,
    /// Password of the user, or of a server without users; better in the environment or a file than among the arguments
    #[arg(
        long,
        env = "REDIS_PASSWORD",
        hide_env_values = true,
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

/// One server, or some of the nodes of a cluster. Its texts leave out user and password.
#[derive(Clone, Eq, PartialEq)]
pub struct RedisAddress {
    cluster: bool,
    /// One address per node as the client reads it, secrets included.
    nodes: Vec<String>,
}

/// The address and the options do not fit together, or a file cannot be read.
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
    /// Half of a certificate.
    #[error("REDIS_CLIENT_CERT and REDIS_CLIENT_KEY belong together")]
    HalfCertificate,
    /// Certificates without TLS.
    #[error("certificates are only used with a rediss:// or valkeys:// address")]
    NoTls,
    /// The address or a certificate means nothing to the client.
    #[error("the address or the certificates of Redis cannot be used")]
    Client(#[from] RedisError),
}

/// How every node of a cluster is spoken to.
pub(super) struct Template {
    info: ConnectionInfo,
    certificates: Option<TlsCertificates>,
    connecting: Duration,
}

/// Tries to connect that fit into the time for a call.
const TRIES: u32 = 2;

/// A connection on which nothing came back for so long is taken for dead, even if nobody closed it.
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

    /// `redis://`, `rediss://`, `valkey://`, `valkeys://`, `unix://`; for a cluster `redis+cluster://HOST:PORT,...` and the like.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("an address of Redis begins with redis:// or rediss://")?;
        let cluster = ["+cluster", "-cluster"]
            .iter()
            .find_map(|suffix| scheme.strip_suffix(suffix));
        let scheme = cluster.unwrap_or(scheme);
        // Nothing of the rest is told: it may hold a password.
        match scheme {
            "redis" | "rediss" | "valkey" | "valkeys" => {}
            "unix" | "redis+unix" | "valkey+unix" if cluster.is_none() => {
                return Self::checked(false, vec![text.to_owned()]);
            }
            _ => {
                return Err(format!(
                    "`{scheme}` is no store of features; use a path, redis://HOST or redis+cluster://HOST,HOST"
                ));
            }
        }
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
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
    /// Host and port of the one server or node that is named; of several none is the server of every call.
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

    /// The index of the database.
    pub(super) fn namespace(&self) -> String {
        let info = self
            .nodes
            .first()
            .and_then(|node| node.as_str().into_connection_info().ok());
        info.map_or(0, |info| info.redis_settings().db())
            .to_string()
    }

    /// What the client will make of it, made once to see whether it can.
    fn checked(cluster: bool, nodes: Vec<String>) -> Result<Self, String> {
        for node in &nodes {
            let told = |error: RedisError| format!("no address of Redis: {error}");
            node.as_str().into_connection_info().map_err(told)?;
        }
        Ok(Self { cluster, nodes })
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

impl Template {
    /// A node of the cluster.
    pub(super) fn node(&self, (host, port): &Address) -> Result<Node, RedisError> {
        let (host, port) = (host.clone(), *port);
        self.node_at(match self.info.addr() {
            ConnectionAddr::TcpTls { insecure, .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: None,
            },
            _ => ConnectionAddr::Tcp(host, port),
        })
    }

    fn node_at(&self, address: ConnectionAddr) -> Result<Node, RedisError> {
        let info = self.info.clone().set_addr(address);
        let client = match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone())?,
            None => Client::open(info)?,
        };
        Ok(Node::new(client, self.connecting))
    }
}

/// The servers that the address and the options lead to. Files are read, nothing is sent.
pub(super) fn servers(
    address: &RedisAddress,
    options: &RedisOptions,
) -> Result<Servers, SettingsError> {
    let password = password(options)?;
    let nodes = address.nodes.iter().map(|node| {
        let info = node.as_str().into_connection_info()?;
        let mut redis = info
            .redis_settings()
            .clone()
            .set_lib_name("throughline", env!("CARGO_PKG_VERSION"));
        if let Some(name) = &options.redis_username {
            redis = redis.set_username(name);
        }
        if let Some(password) = &password {
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
    });
    let nodes: Vec<ConnectionInfo> = nodes.collect::<Result<_, RedisError>>()?;
    let certificates = certificates(options)?;
    // What is said here of the first node is true of all: they have one scheme.
    let Some(first) = nodes.first() else {
        return Err(SettingsError::NoTls);
    };
    if certificates.is_some() && !matches!(first.addr(), ConnectionAddr::TcpTls { .. }) {
        return Err(SettingsError::NoTls);
    }
    let template = Template {
        info: first.clone(),
        certificates,
        connecting: options.redis_timeout / TRIES,
    };
    // Made in any case, so that a wrong certificate is told now and not by the first call.
    let one = template.node_at(first.addr().clone())?;
    if !address.cluster {
        return Ok(Servers::One(one));
    }
    let seed = |info: &ConnectionInfo| match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    };
    Ok(Servers::Cluster(Cluster::new(
        nodes.iter().filter_map(seed).collect(),
        template,
    )))
}

fn password(options: &RedisOptions) -> Result<Option<Secret>, SettingsError> {
    match (&options.redis_password, &options.redis_password_file) {
        (Some(_), Some(_)) => Err(SettingsError::TwoPasswords),
        (Some(password), None) => Ok(Some(password.clone())),
        // Editors end a file with a newline, which is no part of the password.
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
