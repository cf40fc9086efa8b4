//! TLS of the HTTP clients: certificates from PEM files, beside the public authorities.

mod any_certificate;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use any_certificate::AnyCertificate;

/// Whom a client trusts beyond the public authorities, and how it makes itself known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// File with one or more certificates of authorities.
    pub authority: Option<PathBuf>,
    /// File with the client's certificate, and file with its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Take any certificate. Only for an address that nobody else can have.
    pub unverified: bool,
}

/// A PEM file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file has nothing that is needed.
    #[error("{} has no {what} in PEM form", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Certificate or key.
        what: &'static str,
        /// Why, if there is a reason beyond that.
        source: Option<pem::Error>,
    },
}

/// What the files hold.
pub(crate) struct Certificates {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
    unverified: bool,
}

/// The certificate of a client, with its chain, and the key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientTls {
    /// Reads the files.
    pub(crate) fn load(&self) -> Result<Certificates, CertificateError> {
        let authorities = self.authority.as_deref().map(authorities).transpose()?;
        let identity = self
            .identity
            .as_ref()
            .map(|(certificate, key)| identity(certificate, key))
            .transpose()?;
        Ok(Certificates {
            authorities: authorities.unwrap_or_default(),
            identity,
            unverified: self.unverified,
        })
    }
}

impl Certificates {
    /// TLS with them. Fails when they cannot be read, or when key and certificate do not fit.
    pub(crate) fn config(self) -> Result<ClientConfig, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for authority in self.authorities {
            roots.add(authority)?;
        }
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());

        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = if self.unverified {
            let verifier = Arc::new(AnyCertificate(algorithms));
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        } else {
            builder.with_root_certificates(roots)
        };
        let mut config = match self.identity {
            Some(Identity { chain, key }) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let failed = |source| CertificateError::Pem {
        path: path.to_owned(),
        what: "certificate",
        source,
    };
    let authorities = certificates(&read(path)?).map_err(|error| failed(Some(error)))?;
    // The parser takes a file without a certificate for an empty list.
    if authorities.is_empty() {
        return Err(failed(None));
    }
    Ok(authorities)
}

fn identity(certificate: &Path, key: &Path) -> Result<Identity, CertificateError> {
    let failed = |source| CertificateError::Pem {
        path: certificate.to_owned(),
        what: "certificate, or its key file no private key,",
        source,
    };
    let pem = [read(certificate)?, b"\n".to_vec(), read(key)?].concat();
    let chain = certificates(&pem).map_err(|error| failed(Some(error)))?;
    // The first file can have a key as well; that of the key file counts.
    let key = PrivateKeyDer::pem_slice_iter(&pem).last().transpose();
    match key.map_err(|error| failed(Some(error)))? {
        Some(key) if !chain.is_empty() => Ok(Identity { chain, key }),
        _ => Err(failed(None)),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path).map_err(|source| CertificateError::File {
        path: path.to_owned(),
        source,
    })
}
