//! Where the gateway is, and the key that it may ask for.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use axum::http::HeaderValue;

use crate::error::Error;

/// A URL, or a file that has it: `throughline up` starts the explorer before the gateway, and
/// writes the address when it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayAddress {
    /// `http://…` or `https://…`
    Url(String),
    /// Read for every request.
    File(PathBuf),
}

/// The address is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("the gateway has not started: {} has no address yet", .0.display())]
    NotYet(PathBuf),
    #[error("{} has no address such as http://127.0.0.1:8080", .0.display())]
    NoUrl(PathBuf),
}

impl FromStr for GatewayAddress {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if is_url(text) {
            Self::Url(text.trim_end_matches('/').to_owned())
        } else {
            Self::File(text.into())
        })
    }
}

impl GatewayAddress {
    /// The address without a slash at its end.
    pub(super) fn url(&self) -> Result<String, AddressError> {
        match self {
            Self::Url(url) => Ok(url.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|_| AddressError::NotYet(path.clone()))?;
                let url = text.trim().trim_end_matches('/');
                if is_url(url) {
                    Ok(url.to_owned())
                } else {
                    Err(AddressError::NoUrl(path.clone()))
                }
            }
        }
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// The header with the API key in a file, which may end with a line break.
pub(super) fn authorization(path: &Path) -> Result<HeaderValue, Error> {
    let key = std::fs::read_to_string(path).map_err(|source| Error::SecretFile {
        path: path.to_owned(),
        source,
    })?;
    let value = HeaderValue::try_from(format!("Bearer {}", key.trim()));
    value.map_err(|_| Error::NoSecret {
        path: path.to_owned(),
    })
}
