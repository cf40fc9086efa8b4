//! TLS of the calls from one part to another.

use std::path::PathBuf;

use telemetry::client::{ClientError, ClientTls, HttpClient};

use super::TlsOptions;

/// Whom a part trusts beyond the public authorities, and how it makes itself known.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsClientOptions {
    /// PEM file with more authorities for the certificates of the services that are called
    #[arg(long, env = "THROUGHLINE_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// PEM file with the certificate that services are shown which ask for one (mTLS)
    #[arg(
        long,
        env = "THROUGHLINE_TLS_CLIENT_CERT",
        value_name = "FILE",
        requires = "tls_client_key"
    )]
    pub tls_client_cert: Option<PathBuf>,
    /// PEM file with the private key of `--tls-client-cert`
    #[arg(
        long,
        env = "THROUGHLINE_TLS_CLIENT_KEY",
        value_name = "FILE",
        requires = "tls_client_cert"
    )]
    pub tls_client_key: Option<PathBuf>,
}

impl TlsClientOptions {
    /// The options of the environment alone, for a command that has no flags for them.
    pub fn from_env() -> Self {
        Self {
            tls_ca: super::from_env("THROUGHLINE_TLS_CA"),
            tls_client_cert: super::from_env("THROUGHLINE_TLS_CLIENT_CERT"),
            tls_client_key: super::from_env("THROUGHLINE_TLS_CLIENT_KEY"),
        }
    }

    /// For a process that asks itself: without a certificate of its own as a client, that of its
    /// listener.
    pub(crate) fn or_of_listener(mut self, listener: &TlsOptions) -> Self {
        if self.tls_client_cert.is_none() {
            self.tls_client_cert.clone_from(&listener.tls_cert);
            self.tls_client_key.clone_from(&listener.tls_key);
        }
        self
    }

    /// A client with these certificates.
    pub fn client(&self) -> Result<HttpClient, ClientError> {
        HttpClient::with_tls(&self.files())
    }

    /// A client that takes any certificate: a process that asks itself over loopback knows whom it
    /// asks, and its certificate names another address.
    pub(crate) fn unverified_client(&self) -> Result<HttpClient, ClientError> {
        HttpClient::with_tls(&ClientTls {
            unverified: true,
            ..self.files()
        })
    }

    fn files(&self) -> ClientTls {
        let certificate = self.tls_client_cert.clone();
        ClientTls {
            authority: self.tls_ca.clone(),
            identity: certificate.zip(self.tls_client_key.clone()),
            unverified: false,
        }
    }
}
