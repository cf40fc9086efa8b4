//! TLS of a listener: certificate and key from files, and with `--tls-client-ca` a certificate from
//! every client.
//!
//! The files are followed. A changed certificate holds for the next connection; files that do not
//! fit together change nothing, and are named in the log and in the detail of `/readyz`.

mod client;
mod stream;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use client::TlsClientOptions;
pub(crate) use stream::Stream;

use crate::health::Health;
use crate::watched_files::{FileError, WatchedFiles};

/// How often the files are read. Certificates are renewed long before their end.
const EVERY: Duration = Duration::from_secs(1);
/// The key in the detail of `/readyz`.
const DETAIL: &str = "tls";

/// Certificates of a listener.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsOptions {
    /// PEM file with the certificate of this listener and its chain; with it, only HTTPS is
    /// answered. A change of the file is noticed
    #[arg(
        long,
        env = "THROUGHLINE_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the private key of `--tls-cert`
    #[arg(
        long,
        env = "THROUGHLINE_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
    /// PEM file with the authorities of clients' certificates; a client without one is refused
    #[arg(
        long,
        env = "THROUGHLINE_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_client_ca: Option<PathBuf>,
}

/// The certificates of a listener cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("there is no certificate")]
    Read(#[from] FileError),
    /// A file has nothing that is needed.
    #[error("{} has no {what} in PEM form", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Certificate or key.
        what: &'static str,
        /// Why.
        source: pem::Error,
    },
    /// The contents do not fit together.
    #[error("{} cannot be used", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl TlsOptions {
    /// The scheme of the listener's addresses.
    pub fn scheme(&self) -> &'static str {
        if self.tls_cert.is_some() {
            "https"
        } else {
            "http"
        }
    }

    /// The options of the environment alone, for a command that has no flags of the listener.
    pub(crate) fn from_env() -> Self {
        Self {
            tls_cert: from_env("THROUGHLINE_TLS_CERT"),
            tls_key: from_env("THROUGHLINE_TLS_KEY"),
            tls_client_ca: from_env("THROUGHLINE_TLS_CLIENT_CA"),
        }
    }

    /// Whether clients are known by their certificates.
    pub fn knows_clients(&self) -> bool {
        self.tls_client_ca.is_some()
    }
}

/// A path from the environment; empty is unset.
fn from_env(variable: &str) -> Option<PathBuf> {
    let value = std::env::var_os(variable)?;
    (!value.is_empty()).then(|| value.into())
}

/// The certificates in force, and their files.
pub(crate) struct Tls {
    paths: Paths,
    files: WatchedFiles,
    current: Current,
}

/// What new connections use; cloning shares it.
#[derive(Clone)]
pub(crate) struct Current(Arc<RwLock<Arc<ServerConfig>>>);

/// The task that follows the files.
pub(crate) struct Following(JoinHandle<()>);

struct Paths {
    certificate: PathBuf,
    key: PathBuf,
    client_authority: Option<PathBuf>,
}

impl Tls {
    /// Reads the files, if TLS is wanted.
    pub(crate) async fn start(options: &TlsOptions) -> Result<Option<Self>, TlsError> {
        let (Some(certificate), Some(key)) = (&options.tls_cert, &options.tls_key) else {
            return Ok(None);
        };
        let paths = Paths {
            certificate: certificate.clone(),
            key: key.clone(),
            client_authority: options.tls_client_ca.clone(),
        };
        let (files, contents) = WatchedFiles::open(paths.list()).await?;
        let config = paths.config(&contents)?;
        Ok(Some(Self {
            paths,
            files,
            current: Current(Arc::new(RwLock::new(Arc::new(config)))),
        }))
    }

    /// Follows the files until the second value is dropped; the first has what they say.
    pub(crate) fn follow(self, health: Health) -> (Current, Following) {
        let current = self.current.clone();
        let task = telemetry::task::spawn(self.keep_fresh(health));
        (current, Following(task))
    }

    async fn keep_fresh(mut self, health: Health) {
        loop {
            let read = self.files.changed(EVERY).await.map_err(TlsError::from);
            match read.and_then(|contents| self.paths.config(&contents)) {
                Ok(config) => {
                    *self.current.0.write() = Arc::new(config);
                    let path = self.paths.certificate.display();
                    tracing::info!(name: "tls.changed", "new connections get the certificate that is in {path} now");
                    health.detail(DETAIL, None);
                }
                Err(error) => {
                    let why = telemetry::chain(&error);
                    let detail = format!("the previous certificate stays in force: {why}");
                    tracing::warn!(name: "tls.refused", error = why, "{detail}");
                    health.detail(DETAIL, Some(detail));
                }
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Current {
    /// The connection once both sides agree. It fails for itself alone: each handshake is in the
    /// task of its connection.
    pub(crate) async fn handshake(self, stream: TcpStream, limit: Duration) -> Option<Stream> {
        let config = Arc::clone(&self.0.read());
        let accept = TlsAcceptor::from(config).accept(stream);
        let error = match tokio::time::timeout(limit, accept).await {
            Ok(Ok(stream)) => return Some(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        // Scanners make many of these, so they are not for every log.
        tracing::debug!(name: "tls.handshake_failed", %error, "a client's TLS handshake failed: {error}");
        None
    }
}

impl Paths {
    fn list(&self) -> Vec<PathBuf> {
        let required = [&self.certificate, &self.key].into_iter();
        required.chain(&self.client_authority).cloned().collect()
    }

    /// A configuration of the contents, in the order of [`Self::list`]. Every one begins with no
    /// sessions to resume, so a client cannot go round authorities that have changed.
    fn config(&self, contents: &[Vec<u8>]) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let unusable = |error| unusable(&self.certificate, error);
        let chain = certificates(&self.certificate, &contents[0])?;
        let key = PrivateKeyDer::from_pem_slice(&contents[1])
            .map_err(|source| pem_error(&self.key, "private key", source))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match &self.client_authority {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots(path, &contents[2])?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = verifier
                    .build()
                    .map_err(|error| self::unusable(path, error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(path: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| pem_error(path, "certificate", source);
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(content)
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if certificates.is_empty() {
        return Err(failed(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn roots(path: &Path, content: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, content)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(path, error))?;
    }
    Ok(roots)
}

fn pem_error(path: &Path, what: &'static str, source: pem::Error) -> TlsError {
    TlsError::Pem {
        path: path.to_owned(),
        what,
        source,
    }
}

fn unusable(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> TlsError {
    TlsError::Unusable {
        path: path.to_owned(),
        source: Box::new(error),
    }
}
