//! Follows the file of the API keys. A file that is not valid changes nothing; its error is logged
//! once, and shown in the detail of `/readyz` until the file is valid again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::{Health, WatchedFiles};

use super::file::{self, KeysError};
use super::{ApiKeys, KeyOptions};

/// How soon a key that is taken out of the file stops working.
const EVERY: Duration = Duration::from_secs(1);
/// The key in the detail of `/readyz`.
const DETAIL: &str = "api_keys";

/// The file and the keys in force.
pub(crate) struct KeyWatcher {
    watched: Option<Watched>,
    health: Health,
}

struct Watched {
    path: PathBuf,
    files: WatchedFiles,
    keys: ApiKeys,
}

impl KeyWatcher {
    /// Reads the file, if there is one. At the start there are no keys to keep, so an invalid file
    /// is an error.
    pub(crate) async fn start(options: &KeyOptions, health: Health) -> Result<Self, KeysError> {
        let watched = match options.api_keys.clone() {
            None => None,
            Some(path) => {
                let (files, contents) = WatchedFiles::open(vec![path.clone()]).await?;
                let keys = ApiKeys::new(file::read(&path, &contents.concat())?);
                Some(Watched { path, files, keys })
            }
        };
        Ok(Self { watched, health })
    }

    /// The keys, or `None` when everybody may use the gateway.
    pub(crate) fn keys(&self) -> Option<ApiKeys> {
        self.watched.as_ref().map(|watched| watched.keys.clone())
    }

    /// Follows the file for ever.
    pub(crate) async fn keep_fresh(self) {
        let Some(Watched {
            path,
            mut files,
            keys,
        }) = self.watched
        else {
            return std::future::pending().await;
        };
        loop {
            let read = files.changed(EVERY).await.map_err(KeysError::from);
            let entries = read.and_then(|contents| file::read(&path, &contents.concat()));
            match entries {
                Ok(entries) => {
                    log_change(&path, entries.len());
                    keys.replace(entries);
                    self.health.detail(DETAIL, None);
                }
                Err(error) => refuse(&self.health, &error),
            }
        }
    }
}

fn log_change(path: &Path, count: usize) {
    let path = path.display();
    tracing::info!(name: "api_keys.changed", "{path} has changed; it now has {count} API keys");
}

fn refuse(health: &Health, error: &KeysError) {
    let why = runtime::chain(error);
    let detail = format!("the previous API keys stay in force: {why}");
    tracing::warn!(name: "api_keys.refused", error = why, "{detail}");
    health.detail(DETAIL, Some(detail));
}
