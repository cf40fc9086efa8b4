//! Certificates of the HTTP clients, from PEM files.

use std::path::{Path, PathBuf};

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
        source: Option<reqwest::Error>,
    },
}

/// What the files hold.
pub(crate) struct Certificates {
    pub(crate) authorities: Vec<reqwest::Certificate>,
    pub(crate) identity: Option<reqwest::Identity>,
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
        })
    }
}

fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, CertificateError> {
    let failed = |source| CertificateError::Pem {
        path: path.to_owned(),
        what: "certificate",
        source,
    };
    let authorities =
        reqwest::Certificate::from_pem_bundle(&read(path)?).map_err(|error| failed(Some(error)))?;
    // The parser takes a file without a certificate for an empty list.
    if authorities.is_empty() {
        return Err(failed(None));
    }
    Ok(authorities)
}

fn identity(certificate: &Path, key: &Path) -> Result<reqwest::Identity, CertificateError> {
    let pem = [read(certificate)?, b"\n".to_vec(), read(key)?].concat();
    reqwest::Identity::from_pem(&pem).map_err(|source| CertificateError::Pem {
        path: certificate.to_owned(),
        what: "certificate, or its key file no private key,",
        source: Some(source),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path).map_err(|source| CertificateError::File {
        path: path.to_owned(),
        source,
    })
}
