//! The routes of the moment, and the file that they come from, looked at again and again.
//!
//! What is compared is the content: a file that a container platform swaps by a link has a new content and perhaps an old
//! time. A file that is not right changes nothing; it is told once, and in the detail of `/readyz` until it is mended.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use runtime::Health;

use super::{Routes, RoutesError, file};
use crate::config::ServiceAddress;

/// What a routes file may hold; one that is larger is another file.
const MAX_BYTES: u64 = 1 << 20;
/// The detail of `/readyz`.
const DETAIL: &str = "routes";

/// The routes of the moment; cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct SharedRoutes {
    current: Arc<RwLock<Arc<Routes>>>,
}

impl SharedRoutes {
    fn new(routes: Routes) -> Self {
        Self {
            current: Arc::new(RwLock::new(Arc::new(routes))),
        }
    }

    /// The routes of now. A request asks once and keeps what it got.
    pub(crate) fn load(&self) -> Arc<Routes> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn store(&self, routes: Arc<Routes>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = routes;
    }
}

/// Looks after the file of the routes.
#[derive(Debug)]
pub(crate) struct Watcher {
    path: Option<PathBuf>,
    services: Vec<ServiceAddress>,
    health: Health,
    shared: SharedRoutes,
    /// The content that was looked at last.
    seen: Vec<u8>,
    /// What was wrong with it, as it was told.
    wrong: Option<String>,
}

impl Watcher {
    /// Reads the file, if there is one. At the start there are no routes to keep, so a file that is not right is an error.
    pub(crate) async fn start(
        path: Option<PathBuf>,
        services: Vec<ServiceAddress>,
        health: Health,
    ) -> Result<Self, RoutesError> {
        let (seen, routes) = match &path {
            None => (Vec::new(), Routes::of_services(&services)),
            Some(path) => {
                let content = content(path.clone()).await?;
                let routes = file::read(path, &content, &services)?;
                (content, routes)
            }
        };
        Ok(Self {
            path,
            services,
            health,
            shared: SharedRoutes::new(routes),
            seen,
            wrong: None,
        })
    }

    pub(crate) fn routes(&self) -> SharedRoutes {
        self.shared.clone()
    }

    /// Looks at the file again and again, for ever, and calls `changed` after each change of the routes.
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
                // Somebody may be writing just now: what is not the same a moment later is looked at next time.
                tokio::time::sleep(every / 10).await;
                let again = content(path.clone()).await;
                if !matches!((&read, &again), (Ok(first), Ok(second)) if first == second) {
                    continue;
                }
                read = again;
            }
            if self.look(&path, read) {
                changed().await;
            }
        }
    }

    /// Takes what the file holds now; true when the routes are others than before.
    fn look(&mut self, path: &Path, read: Result<Vec<u8>, RoutesError>) -> bool {
        let routes = match read {
            Ok(content) if content == self.seen && self.wrong.is_none() => return false,
            Ok(content) => {
                let routes = file::read(path, &content, &self.services);
                self.seen = content;
                routes
            }
            Err(error) => Err(error),
        };
        match routes {
            Ok(routes) => {
                if self.wrong.take().is_some() {
                    self.health.detail(DETAIL, None);
                }
                self.take(routes)
            }
            Err(error) => {
                self.refuse(&error);
                false
            }
        }
    }

    fn take(&self, routes: Routes) -> bool {
        let before = self.shared.load();
        if *before == routes {
            return false;
        }
        let routes = Arc::new(routes);
        self.shared.store(Arc::clone(&routes));
        for model in before.models().keys().chain(
            routes
                .models()
                .keys()
                .filter(|name| !before.models().contains_key(*name)),
        ) {
            let (old, new) = (before.of(model), routes.of(model));
            if old.version != new.version {
                tracing::info!(
                    name: "routes.changed",
                    { "ml.model_name" = model, "feature_flag.version" = new.version },
                    "the routes of {model} are now: {}",
                    new.describe()
                );
            }
        }
        true
    }

    fn refuse(&mut self, error: &RoutesError) {
        let told = runtime::chain(error);
        if self.wrong.as_ref() != Some(&told) {
            self.health.detail(
                DETAIL,
                Some(format!("the routes of before are kept: {told}")),
            );
            tracing::warn!(name: "routes.refused", error = told, "the routes of before are kept: {told}");
            self.wrong = Some(told);
        }
    }
}

async fn content(path: PathBuf) -> Result<Vec<u8>, RoutesError> {
    let unread = path.clone();
    let read = telemetry::task::spawn_blocking(move || {
        use std::io::Read as _;
        let mut content = Vec::new();
        let mut file = std::fs::File::open(&path)?.take(MAX_BYTES + 1);
        file.read_to_end(&mut content)?;
        if content.len() as u64 > MAX_BYTES {
            Err(std::io::Error::other("it is larger than 1 MiB"))
        } else {
            Ok(content)
        }
    });
    let read = read
        .await
        .unwrap_or_else(|_| Err(std::io::Error::other("the gateway is stopping")));
    read.map_err(|source| RoutesError::Read {
        path: unread,
        source,
    })
}
