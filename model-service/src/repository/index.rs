//! The index of the repository: all models with their versions, refreshed when the folder changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};

use super::load::{LoadError, Loaded, load};
use super::write::{is_name, version_number, versions};
use super::{MANIFEST, TOKENIZER, WEIGHTS};

/// All models of a repository. Requests in flight keep the version they began with.
#[derive(Debug)]
pub struct ModelRepository {
    root: PathBuf,
    models: RwLock<Arc<Models>>,
    /// One refresh at a time.
    refreshing: Mutex<()>,
}

type Models = BTreeMap<String, ModelVersions>;

/// The versions of one model by number.
#[derive(Clone, Debug, Default)]
pub struct ModelVersions {
    ready: BTreeMap<u64, Arc<Loaded>>,
    unavailable: BTreeMap<u64, Unavailable>,
    /// Versions of another framework.
    foreign: BTreeSet<u64>,
}

/// Why a version is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    #[error("unknown model {0}")]
    UnknownModel(String),
    #[error("unknown version {version} of model {model}")]
    UnknownVersion { model: String, version: String },
    #[error("model {model} is not ready: {reason}")]
    NotReady { model: String, reason: String },
}

/// A version that cannot be served, kept so that it is logged once and not at every refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unavailable {
    reason: String,
    fingerprint: Fingerprint,
}

/// Size and modification time of the files. When they differ, an unavailable version is tried
/// again.
type Fingerprint = [Option<(u64, SystemTime)>; 3];

impl ModelRepository {
    /// The repository at `root`, which need not exist yet. It is empty until
    /// [`ModelRepository::refresh`].
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            models: RwLock::default(),
            refreshing: Mutex::new(()),
        }
    }

    /// Loads new versions and drops removed ones. Blocks on the file system.
    ///
    /// Known versions are not read again, because a version never changes. Returns whether any
    /// version is ready.
    pub fn refresh(&self) -> io::Result<bool> {
        let _refreshing = self.refreshing.lock();
        let before = self.models();
        let mut models = Models::new();
        let names = match model_names(&self.root) {
            // A repository that was never there may still come. One that has gone is an error, and
            // its models stay.
            Err(error) if error.kind() == io::ErrorKind::NotFound && before.is_empty() => {
                Vec::new()
            }
            names => names?,
        };
        for name in names {
            let known = before.get(&name).cloned().unwrap_or_default();
            let folder = self.root.join(&name);
            let versions = known.refreshed(&name, &folder)?;
            if !versions.is_foreign() {
                models.insert(name, versions);
            }
        }
        let any_ready = models.values().any(|versions| !versions.ready.is_empty());
        *self.models.write() = Arc::new(models);
        Ok(any_ready)
    }

    /// The given version, or without one the highest that is ready.
    pub fn find(&self, name: &str, version: Option<&str>) -> Result<Arc<Loaded>, NotServed> {
        let models = self.models();
        let versions = models
            .get(name)
            .ok_or_else(|| NotServed::UnknownModel(name.to_owned()))?;
        let not_ready = |reason: String| NotServed::NotReady {
            model: name.to_owned(),
            reason,
        };
        let Some(version) = version else {
            let highest = versions.ready.last_key_value();
            return highest
                .map(|(_, loaded)| Arc::clone(loaded))
                .ok_or_else(|| not_ready(versions.reason()));
        };
        let number = version_number(version);
        let ready = number.and_then(|number| versions.ready.get(&number));
        let unavailable = number.and_then(|number| versions.unavailable.get(&number));
        match (ready, unavailable) {
            (Some(loaded), _) => Ok(Arc::clone(loaded)),
            (None, Some(unavailable)) => Err(not_ready(format!(
                "version {version}: {}",
                unavailable.reason
            ))),
            (None, None) => Err(NotServed::UnknownVersion {
                model: name.to_owned(),
                version: version.to_owned(),
            }),
        }
    }

    /// A repository of one version that was never on a disk.
    #[cfg(test)]
    pub(crate) fn of(loaded: Loaded) -> Self {
        let repository = Self::new("");
        let (name, number) = (
            loaded.manifest.name.clone(),
            loaded.manifest.version.parse(),
        );
        let mut versions = ModelVersions::default();
        versions.ready.insert(number.unwrap_or(1), Arc::new(loaded));
        *repository.models.write() = Arc::new([(name, versions)].into());
        repository
    }

    /// The models by name, as of the last refresh.
    pub fn models(&self) -> Arc<Models> {
        Arc::clone(&self.models.read())
    }
}

impl ModelVersions {
    /// The versions that are served, lowest first.
    pub fn ready(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        self.ready.values()
    }

    /// The versions that cannot be served, with the reason.
    pub fn unavailable(&self) -> impl Iterator<Item = (u64, &str)> {
        self.unavailable
            .iter()
            .map(|(version, unavailable)| (*version, unavailable.reason.as_str()))
    }

    /// Whether all versions are of another framework. Then the model belongs to another service.
    fn is_foreign(&self) -> bool {
        self.ready.is_empty() && self.unavailable.is_empty() && !self.foreign.is_empty()
    }

    /// Why no version is ready.
    fn reason(&self) -> String {
        match self.unavailable.last_key_value() {
            Some((version, unavailable)) => format!("version {version}: {}", unavailable.reason),
            None => "it has no version yet".to_owned(),
        }
    }

    fn refreshed(mut self, name: &str, folder: &Path) -> io::Result<Self> {
        let present: BTreeSet<u64> = match versions(folder) {
            // The folder was removed after it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            versions => versions?.into_iter().collect(),
        };
        self.ready.retain(|version, _| present.contains(version));
        self.unavailable
            .retain(|version, _| present.contains(version));
        self.foreign.retain(|version| present.contains(version));
        for version in present {
            if self.ready.contains_key(&version) || self.foreign.contains(&version) {
                continue;
            }
            let place = folder.join(version.to_string());
            let fingerprint = fingerprint(&place);
            let before = self.unavailable.get(&version);
            if before.is_some_and(|before| before.fingerprint == fingerprint) {
                continue;
            }
            self.insert(name, version, load(name, version, &place), fingerprint);
        }
        Ok(self)
    }

    /// Inserts a version under its new state and logs the change.
    fn insert(
        &mut self,
        name: &str,
        version: u64,
        loaded: Result<Loaded, LoadError>,
        fingerprint: Fingerprint,
    ) {
        self.unavailable.remove(&version);
        match loaded {
            Ok(loaded) => {
                tracing::info!(
                    name: "model.loaded",
                    { "ml.model_name" = name, "ml.model_version" = version.to_string(), "ml.run_id" = loaded.manifest.run_id },
                    "model {name} version {version} is loaded"
                );
                self.ready.insert(version, Arc::new(loaded));
            }
            Err(LoadError::Foreign) => {
                self.foreign.insert(version);
            }
            Err(error) => {
                let reason = runtime::chain(&error);
                tracing::warn!(
                    name: "model.rejected",
                    { "ml.model_name" = name, "ml.model_version" = version.to_string(), reason },
                    "model {name} version {version} is not served: {reason}"
                );
                let unavailable = Unavailable {
                    reason,
                    fingerprint,
                };
                self.unavailable.insert(version, unavailable);
            }
        }
    }
}

/// The folders whose names can be names of models.
fn model_names(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry
            .file_name()
            .into_string()
            .ok()
            .filter(|name| is_name(name));
        if let Some(name) = name
            && entry.path().is_dir()
        {
            names.push(name);
        }
    }
    Ok(names)
}

fn fingerprint(place: &Path) -> Fingerprint {
    [MANIFEST, WEIGHTS, TOKENIZER].map(|file| {
        let metadata = fs::metadata(place.join(file)).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    })
}
