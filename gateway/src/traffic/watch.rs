//! The traffic splits in force, and the routes file that they come from, which is polled.
//!
//! The content is compared, not the time: a container platform swaps a file by a link, and the new
//! content may have an old time. An invalid file changes nothing; its error is logged once, and
//! shown in the detail of `/readyz` until the file is valid again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use runtime::Health;

use super::{RoutesError, Traffic, file};
use crate::config::ServiceAddress;

/// A larger file is not a routes file.
const MAX_BYTES: u64 = 1 << 20;
/// The key in the detail of `/readyz`.
const DETAIL: &str = "routes";

/// The traffic splits in force; cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct SharedTraffic {
    current: Arc<RwLock<Arc<Traffic>>>,
}

impl SharedTraffic {
    /// The splits in force now. A request loads them once and keeps them to its end.
    pub(crate) fn load(&self) -> Arc<Traffic> {
        Arc::clone(&self.current.read())
    }
}

/// Follows the routes file.
#[derive(Debug)]
pub(crate) struct Watcher {
    path: Option<PathBuf>,
    services: Vec<ServiceAddress>,
    health: Health,
    shared: SharedTraffic,
    /// The content that was read last.
    seen: Vec<u8>,
    /// Why that content is invalid, as it was logged.
    refused: Option<String>,
}

impl Watcher {
    /// Reads the file, if there is one. At the start there are no splits to keep, so an invalid
    /// file is an error.
    pub(crate) async fn start(
        path: Option<PathBuf>,
        services: Vec<ServiceAddress>,
        health: Health,
    ) -> Result<Self, RoutesError> {
        let (seen, traffic) = match &path {
            None => (Vec::new(), Traffic::of_services(&services)),
            Some(path) => {
                let content = content(path.clone()).await?;
                let traffic = file::read(path, &content, &services)?;
                (content, traffic)
            }
        };
        let shared = SharedTraffic {
            current: Arc::new(RwLock::new(Arc::new(traffic))),
        };
        Ok(Self {
            path,
            services,
            health,
            shared,
            seen,
            refused: None,
        })
    }

    pub(crate) fn traffic(&self) -> SharedTraffic {
        self.shared.clone()
    }

    /// Polls the file for ever, and calls `changed` after each change of a split.
    pub(crate) async fn keep_fresh<F: Future<Output = ()>>(
        mut self,
        every: Duration,
        changed: impl Fn() -> F,
    ) {
        let Some(path) = self.path.clone() else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(every).await;
            let mut read = content(path.clone()).await;
            if read.as_ref().is_ok_and(|content| *content != self.seen) {
                // The file may be half written: it counts when it is still the same a moment later.
                tokio::time::sleep(every / 10).await;
                let again = content(path.clone()).await;
                if !matches!((&read, &again), (Ok(first), Ok(second)) if first == second) {
                    continue;
                }
                read = again;
            }
            if self.update(&path, read) {
                changed().await;
            }
        }
    }

    /// Puts the content of the file into force; true when that changes a split.
    fn update(&mut self, path: &Path, read: Result<Vec<u8>, RoutesError>) -> bool {
        let traffic = match read {
            Ok(content) if content == self.seen && self.refused.is_none() => return false,
            Ok(content) => {
                let traffic = file::read(path, &content, &self.services);
                self.seen = content;
                traffic
            }
            Err(error) => Err(error),
        };
        match traffic {
            Ok(traffic) => {
                if self.refused.take().is_some() {
                    self.health.detail(DETAIL, None);
                }
                self.put_into_force(traffic)
            }
            Err(error) => {
                self.refuse(&error);
                false
            }
        }
    }

    fn put_into_force(&self, traffic: Traffic) -> bool {
        let before = self.shared.load();
        if *before == traffic {
            return false;
        }
        let traffic = Arc::new(traffic);
        *self.shared.current.write() = Arc::clone(&traffic);
        let removed = before.models().keys();
        let removed = removed.filter(|name| !traffic.models().contains_key(*name));
        for model in traffic.models().keys().chain(removed) {
            let split = traffic.of(model);
            if before.of(model).version != split.version {
                tracing::info!(
                    name: "routes.changed",
                    { "ml.model_name" = model, "feature_flag.version" = split.version },
                    "the routes of {model} are now: {}",
                    split.describe()
                );
            }
        }
        true
    }

    fn refuse(&mut self, error: &RoutesError) {
        let why = runtime::chain(error);
        if self.refused.as_ref() != Some(&why) {
            let detail = format!("the previous routes stay in force: {why}");
            tracing::warn!(name: "routes.refused", error = why, "{detail}");
            self.health.detail(DETAIL, Some(detail));
            self.refused = Some(why);
        }
    }
}

async fn content(path: PathBuf) -> Result<Vec<u8>, RoutesError> {
    let file = path.clone();
    telemetry::task::spawn_blocking(move || read_bounded(&file))
        .await
        .unwrap_or_else(|_| Err(std::io::Error::other("the gateway is stopping")))
        .map_err(|source| RoutesError::Read { path, source })
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut content = Vec::new();
    let mut file = std::fs::File::open(path)?.take(MAX_BYTES + 1);
    file.read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    Ok(content)
}
