//! The token of the page's listener: who may read what was received, and send requests from here.
//!
//! A program sends it as `Authorization: Bearer TOKEN` (RFC 6750). A person types it once; the
//! browser then keeps a cookie that is derived from it and does not tell it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use hmac::{Hmac, KeyInit, Mac};
use runtime::TlsOptions;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::{Error, Unprotected};

/// A shorter token can be found by trying.
const MIN_BYTES: usize = 16;
/// Thirty days.
const COOKIE_SECONDS: u32 = 30 * 24 * 3600;

/// Who may use the page and the read API.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TokenOptions {
    /// File with the token that the page and the read API ask for, 16 bytes or more. Beyond
    /// loopback one is needed
    #[arg(long, env = "EXPLORER_TOKEN_FILE", value_name = "FILE")]
    pub explorer_token_file: Option<PathBuf>,
    /// Listen beyond loopback without a token, for a network where everybody may read the telemetry
    #[arg(long, env = "EXPLORER_INSECURE_LISTEN")]
    pub insecure_listen: bool,
}

/// The token in force; cloning shares it.
#[derive(Clone)]
pub(crate) struct Token(Arc<Inner>);

struct Inner {
    /// SHA-256 of the token and of the cookie, so that all that is compared has one length.
    token: [u8; 32],
    cookie: [u8; 32],
    cookie_name: String,
    set_cookie: HeaderValue,
}

impl TokenOptions {
    /// Refuses an open address where readers are known neither by the token nor by certificates,
    /// unless that is wanted.
    pub(crate) fn check(&self, address: SocketAddr, tls: &TlsOptions) -> Result<(), Unprotected> {
        let loopback = address.ip().to_canonical().is_loopback();
        let known = self.explorer_token_file.is_some() || tls.knows_clients();
        if loopback || known || self.insecure_listen {
            Ok(())
        } else {
            Err(Unprotected { address })
        }
    }

    /// The token of the file, if there is one.
    pub(crate) fn read(&self, tls: &TlsOptions) -> Result<Option<Token>, Error> {
        let Some(path) = &self.explorer_token_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).map_err(|source| Error::SecretFile {
            path: path.clone(),
            source,
        })?;
        Token::new(text.trim(), tls.scheme() == "https", path).map(Some)
    }
}

impl Token {
    fn new(token: &str, secure: bool, path: &Path) -> Result<Token, Error> {
        if token.len() < MIN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Token {
                path: path.to_owned(),
            });
        }
        // Cookies are not told apart by port: another explorer of this host has another name.
        let name = derived(token, "name of the cookie");
        let name = format!("throughline-{}", &name[..8]);
        let cookie = derived(token, "cookie");
        let secure = if secure { "; Secure" } else { "" };
        let set_cookie = format!(
            "{name}={cookie}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Strict{secure}"
        );
        let mut set_cookie = HeaderValue::try_from(set_cookie).map_err(|_| Error::Token {
            path: path.to_owned(),
        })?;
        set_cookie.set_sensitive(true);
        Ok(Token(Arc::new(Inner {
            token: Sha256::digest(token).into(),
            cookie: Sha256::digest(&cookie).into(),
            cookie_name: name,
            set_cookie,
        })))
    }

    /// Whether this is the token, in a time that says nothing about it.
    pub(crate) fn is(&self, presented: &str) -> bool {
        same(&self.0.token, presented)
    }

    /// The header that spares a person the next question.
    pub(crate) fn set_cookie(&self) -> HeaderValue {
        self.0.set_cookie.clone()
    }

    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let bearer = headers.get(AUTHORIZATION).and_then(bearer);
        bearer.is_some_and(|token| self.is(token)) || self.has_cookie(headers)
    }

    /// `name=value` pairs, separated by semicolons (RFC 6265, section 4.2.1).
    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(COOKIE).into_iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let mut ours = pairs.filter(|(name, _)| *name == self.0.cookie_name);
        ours.any(|(_, value)| same(&self.0.cookie, value))
    }
}

/// The scheme is compared without regard to case (RFC 9110, section 11.1).
fn bearer(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

fn same(hash: &[u8; 32], presented: &str) -> bool {
    let presented: [u8; 32] = Sha256::digest(presented).into();
    hash.ct_eq(&presented).into()
}

/// 64 hex digits that follow from the token and do not tell it.
fn derived(token: &str, what: &str) -> String {
    // A key of any length will do (RFC 2104, section 2).
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(token.as_bytes()) else {
        return String::new();
    };
    mac.update(b"throughline explorer: ");
    mac.update(what.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests;
