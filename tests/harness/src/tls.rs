//! Certificates for a test, and a client that checks and shows them.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::client::Answer;
use crate::wait::DEADLINE;

/// An authority with a folder for its certificates.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate: PathBuf,
}

/// A certificate for loopback and its private key, as PEM files.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A client of HTTPS.
#[derive(Clone)]
pub struct TlsClient(Arc<ClientConfig>);

impl Authority {
    /// A new authority, whose files begin with `name`.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = folder.join(format!("{name}.pem"));
        std::fs::write(&certificate, params.self_signed(&key)?.pem())?;
        Ok(Self {
            folder: folder.to_owned(),
            issuer: Issuer::new(params, key),
            certificate,
        })
    }

    /// The authority's own certificate.
    pub fn path(&self) -> &str {
        text(&self.certificate)
    }

    /// A certificate for loopback in the files `name`.
    pub fn issue(&self, name: &str) -> Result<Identity> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.issuer)?;
        let identity = Identity {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
        };
        std::fs::write(&identity.certificate, certificate.pem())?;
        std::fs::write(&identity.key, key.serialize_pem())?;
        Ok(identity)
    }

    /// A client that trusts this authority alone, and shows the certificate of `identity`.
    pub fn client(&self, identity: Option<&Identity>) -> Result<TlsClient> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate)?)?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![CertificateDer::from_pem_file(&identity.certificate)?];
                let key = PrivateKeyDer::from_pem_file(&identity.key)?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        Ok(TlsClient(Arc::new(config)))
    }
}

impl Identity {
    pub fn certificate(&self) -> &str {
        text(&self.certificate)
    }

    pub fn key(&self) -> &str {
        text(&self.key)
    }
}

impl TlsClient {
    /// A GET on a connection of its own; an error if the handshake fails on either side.
    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let mut stream = self.open(url, headers)?;
        Answer::read(&mut stream).with_context(|| format!("no answer to GET {url}"))
    }

    /// Sends a GET and leaves the answer on the connection.
    pub fn open(
        &self,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let rest = url.strip_prefix("https://").context("an https URL")?;
        let (authority, path) = rest.split_at(rest.find('/').context("a path")?);
        let socket = TcpStream::connect(authority)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        let name = ServerName::try_from("localhost")?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name)?;
        let mut stream = StreamOwned::new(connection, socket);
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        Ok(stream)
    }
}

fn text(path: &Path) -> &str {
    path.to_str()
        .expect("the folder of a test has a plain name")
}
