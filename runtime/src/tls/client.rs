//! TLS of the calls from one part to another.

use std::path::PathBuf;

use telemetry::client::{ClientError, ClientTls, HttpClient};

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
    /// A client with these certificates.
    pub fn client(&self) -> Result<HttpClient, ClientError> {
        let certificate = self.tls_client_cert.clone();
        HttpClient::with_tls(&ClientTls {
            authority: self.tls_ca.clone(),
            identity: certificate.zip(self.tls_client_key.clone()),
        })
    }
}
