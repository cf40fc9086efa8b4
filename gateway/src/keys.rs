//! API keys: who may use the gateway, and how much.
//!
//! A client sends its key as `Authorization: Bearer KEY` (RFC 6750). The file has the SHA-256 of
//! each key, never the key. Neither spans, logs nor errors have it; a span has the key's name.

pub mod create;
mod file;
mod layer;
mod limit;
mod no_key;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use runtime::TlsOptions;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub use file::KeysError;
pub(crate) use layer::{Gate, authenticate};
pub(crate) use limit::OverLimit;
pub(crate) use no_key::NoKey;
pub(crate) use watch::KeyWatcher;

use file::KeyEntry;
use limit::Limits;

/// Who may use the gateway.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct KeyOptions {
    /// TOML file with the API keys, made by `api-key create`: every request needs one of them, but
    /// for `/livez` and `/readyz`. A change of the file is noticed
    #[arg(long, env = "GATEWAY_API_KEYS", value_name = "FILE")]
    pub api_keys: Option<PathBuf>,
    /// Listen beyond loopback without API keys, for a network where everybody may use the gateway
    #[arg(long, env = "GATEWAY_INSECURE_LISTEN")]
    pub insecure_listen: bool,
}

/// The gateway would listen beyond loopback and answer everybody.
#[derive(Debug, thiserror::Error)]
#[error(
    "{address} is beyond loopback, and anybody could use the gateway there; make a key with `gateway api-key create` and give its file with --api-keys, or pass --insecure-listen if the network is closed"
)]
pub struct Unprotected {
    address: SocketAddr,
}

impl KeyOptions {
    /// Refuses an open address where clients are known neither by keys nor by certificates, unless
    /// that is wanted.
    pub(crate) fn check(&self, address: SocketAddr, tls: &TlsOptions) -> Result<(), Unprotected> {
        let loopback = address.ip().to_canonical().is_loopback();
        let known = self.api_keys.is_some() || tls.knows_clients();
        if loopback || known || self.insecure_listen {
            Ok(())
        } else {
            Err(Unprotected { address })
        }
    }
}

/// The keys in force; cloning shares them.
#[derive(Clone)]
pub(crate) struct ApiKeys {
    current: Arc<RwLock<Arc<[Arc<ApiKey>]>>>,
}

/// One key and what its clients use of it.
pub(crate) struct ApiKey {
    entry: KeyEntry,
    limits: Limits,
}

impl ApiKeys {
    fn new(entries: Vec<KeyEntry>) -> Self {
        let keys = entries
            .into_iter()
            .map(|entry| Arc::new(ApiKey::new(entry)));
        Self {
            current: Arc::new(RwLock::new(keys.collect())),
        }
    }

    /// Puts other keys into force. An entry that has not changed keeps its counts: a reload is no
    /// way around a limit.
    fn replace(&self, entries: Vec<KeyEntry>) {
        let before = Arc::clone(&self.current.read());
        let keep = |entry: KeyEntry| {
            let same = before.iter().find(|key| key.entry == entry);
            same.map_or_else(|| Arc::new(ApiKey::new(entry)), Arc::clone)
        };
        *self.current.write() = entries.into_iter().map(keep).collect();
    }

    /// The key that this text is. All hashes are compared, each in constant time, so that the time
    /// of an answer says nothing about them.
    pub(crate) fn find(&self, presented: &[u8]) -> Option<Arc<ApiKey>> {
        let hash: [u8; 32] = Sha256::digest(presented).into();
        let keys = Arc::clone(&self.current.read());
        let mut found = None;
        for key in &*keys {
            if key.entry.sha256.ct_eq(&hash).into() {
                found = Some(Arc::clone(key));
            }
        }
        found
    }
}

impl ApiKey {
    fn new(entry: KeyEntry) -> Self {
        Self {
            limits: Limits::new(&entry),
            entry,
        }
    }
}

#[cfg(test)]
mod tests;
