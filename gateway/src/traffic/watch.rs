//! The traffic splits in force, and the routes file that they come from, which is polled.
//!
//! An invalid file changes nothing; its error is logged once, and shown in the detail of `/readyz`
//! until the file is valid again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use runtime::{Health, WatchedFiles};

use super::{RoutesError, Traffic, file};
use crate::config::ServiceAddress;

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
pub(crate) struct Watcher {
    /// The path and its content, if there is a routes file.
    file: Option<(PathBuf, WatchedFiles)>,
    services: Vec<ServiceAddress>,
    health: Health,
    shared: SharedTraffic,
}

impl Watcher {
    /// Reads the file, if there is one. At the start there are no splits to keep, so an invalid
    /// file is an error.
    pub(crate) async fn start(
        path: Option<PathBuf>,
        services: Vec<ServiceAddress>,
        health: Health,
    ) -> Result<Self, RoutesError> {
        let (file, traffic) = match path {
            None => (None, Traffic::of_services(&services)),
            Some(path) => {
                let (watched, contents) = WatchedFiles::open(vec![path.clone()]).await?;
                let traffic = file::read(&path, &contents.concat(), &services)?;
                (Some((path, watched)), traffic)
            }
        };
        let shared = SharedTraffic {
            current: Arc::new(RwLock::new(Arc::new(traffic))),
        };
        Ok(Self {
            file,
            services,
            health,
            shared,
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
        let Some((path, mut watched)) = self.file.take() else {
            return std::future::pending().await;
        };
        loop {
            let read = watched.changed(every).await.map_err(RoutesError::from);
            let traffic =
                read.and_then(|contents| file::read(&path, &contents.concat(), &self.services));
            match traffic {
                Ok(traffic) => {
                    self.health.detail(DETAIL, None);
                    if self.put_into_force(traffic) {
                        changed().await;
                    }
                }
                Err(error) => self.refuse(&error),
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

    fn refuse(&self, error: &RoutesError) {
        let why = runtime::chain(error);
        let detail = format!("the previous routes stay in force: {why}");
        tracing::warn!(name: "routes.refused", error = why, "{detail}");
        self.health.detail(DETAIL, Some(detail));
    }
}
