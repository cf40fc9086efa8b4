//! The index of the repository: all models with their versions, refreshed when the folder changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};

use super::current::Choice;
use super::load::{LoadError, Loaded, is_foreign, load};
use super::write::{is_name, version_number, versions};
use super::{MANIFEST, TOKENIZER, WEIGHTS};

/// All models of a repository. Requests in flight keep the version they began with.
#[derive(Debug)]
pub struct ModelRepository {
    pub(super) root: PathBuf,
    models: RwLock<Arc<Models>>,
    /// One refresh or change at a time.
    pub(super) refreshing: Mutex<()>,
}

pub(super) type Models = BTreeMap<String, ModelVersions>;

/// The versions of one model by number.
#[derive(Clone, Debug, Default)]
pub struct ModelVersions {
    ready: BTreeMap<u64, Arc<Loaded>>,
    unavailable: BTreeMap<u64, Unavailable>,
    /// Versions of another framework.
    foreign: BTreeSet<u64>,
    /// Versions that are not read, because the model is unloaded.
    idle: BTreeSet<u64>,
    choice: Choice,
    /// The version that answers when a request names none.
    current: Option<u64>,
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
    #[error("model {0} is unloaded; POST /v2/repository/models/{0}/load makes it answer again")]
    Unloaded(String),
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
            let choice = Choice::read(&folder);
            let versions = known
                .scanned(&name, &folder, choice == Choice::Unloaded)?
                .with_choice(&name, choice);
            if !versions.is_foreign() {
                models.insert(name, versions);
            }
        }
        let any_ready = models.values().any(|versions| versions.current.is_some());
        self.replace(models);
        Ok(any_ready)
    }

    /// The given version, or without one the current version: the chosen one, else the
    /// highest that is ready.
    pub fn find(&self, name: &str, version: Option<&str>) -> Result<Arc<Loaded>, NotServed> {
        let models = self.models();
        let versions = models
            .get(name)
            .ok_or_else(|| NotServed::UnknownModel(name.to_owned()))?;
        if versions.is_unloaded() {
            return Err(NotServed::Unloaded(name.to_owned()));
        }
        let not_ready = |reason: String| NotServed::NotReady {
            model: name.to_owned(),
            reason,
        };
        let Some(version) = version else {
            let current = versions.current();
            return current
                .map(Arc::clone)
                .ok_or_else(|| versions.not_ready(name));
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
        let number = number.unwrap_or(1);
        versions.ready.insert(number, Arc::new(loaded));
        versions.current = Some(number);
        *repository.models.write() = Arc::new([(name, versions)].into());
        repository
    }

    /// The models by name, as of the last refresh.
    pub fn models(&self) -> Arc<Models> {
        Arc::clone(&self.models.read())
    }

    /// From now on, requests find these models. Those in flight keep what they found.
    pub(super) fn replace(&self, models: Models) {
        *self.models.write() = Arc::new(models);
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

    /// The versions that are not read, because the model is unloaded.
    pub fn idle(&self) -> impl Iterator<Item = u64> {
        self.idle.iter().copied()
    }

    /// The version that answers when a request names none.
    pub fn current(&self) -> Option<&Arc<Loaded>> {
        self.ready.get(&self.current?)
    }

    /// The number of the current version, if it need not be the highest.
    pub fn chosen(&self) -> Option<u64> {
        self.current.filter(|_| self.choice != Choice::Newest)
    }

    pub fn is_unloaded(&self) -> bool {
        self.choice == Choice::Unloaded
    }

    /// Whether all versions are of another framework. Then the model belongs to another service.
    pub(super) fn is_foreign(&self) -> bool {
        let own = [
            self.ready.is_empty(),
            self.unavailable.is_empty(),
            self.idle.is_empty(),
        ];
        own == [true; 3] && !self.foreign.is_empty()
    }

    /// The highest number, of a version that can be served or not.
    pub(super) fn highest(&self) -> Option<u64> {
        let ready = self.ready.last_key_value().map(|(version, _)| *version);
        let unavailable = self.unavailable.keys().next_back().copied();
        ready.max(unavailable).max(self.idle.last().copied())
    }

    /// Whether the version can answer, and why not; `None` if there is no such version.
    pub(super) fn state(&self, version: u64) -> Option<Result<(), &str>> {
        if self.ready.contains_key(&version) {
            return Some(Ok(()));
        }
        let unavailable = self.unavailable.get(&version);
        unavailable.map(|unavailable| Err(unavailable.reason.as_str()))
    }

    /// The same with the versions that could not be served forgotten, so that they are read again.
    pub(super) fn retried(mut self) -> Self {
        self.unavailable.clear();
        self
    }

    /// The numbers of the versions that can be served.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.ready.keys().copied()
    }

    pub(super) fn not_ready(&self, name: &str) -> NotServed {
        NotServed::NotReady {
            model: name.to_owned(),
            reason: self.reason(),
        }
    }

    /// Why no version answers.
    pub(crate) fn reason(&self) -> String {
        if let Choice::Version(version) = self.choice {
            let reason = match self.state(version) {
                Some(Err(reason)) => reason,
                _ => "it does not exist here",
            };
            return format!("version {version}, which is chosen: {reason}");
        }
        if let Choice::Unreadable(reason) = &self.choice {
            return reason.clone();
        }
        match self.unavailable.last_key_value() {
            Some((version, unavailable)) => format!("version {version}: {}", unavailable.reason),
            None => "it has no version yet".to_owned(),
        }
    }

    /// The versions that the folder has now. Those of a model that is unloaded are not read.
    pub(super) fn scanned(
        mut self,
        name: &str,
        folder: &Path,
        is_unloaded: bool,
    ) -> io::Result<Self> {
        let present: BTreeSet<u64> = match versions(folder) {
            // The folder was removed after it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            versions => versions?.into_iter().collect(),
        };
        self.foreign.retain(|version| present.contains(version));
        if is_unloaded {
            self.set_idle(folder, present);
        } else {
            self.read_new(name, folder, &present);
        }
        Ok(self)
    }

    fn set_idle(&mut self, folder: &Path, present: BTreeSet<u64>) {
        self.ready.clear();
        self.unavailable.clear();
        self.idle.retain(|version| present.contains(version));
        for version in present {
            if self.idle.contains(&version) || self.foreign.contains(&version) {
                continue;
            }
            let of_others = is_foreign(&folder.join(version.to_string()));
            let versions = if of_others {
                &mut self.foreign
            } else {
                &mut self.idle
            };
            versions.insert(version);
        }
    }

    fn read_new(&mut self, name: &str, folder: &Path, present: &BTreeSet<u64>) {
        self.idle.clear();
        self.ready.retain(|version, _| present.contains(version));
        self.unavailable
            .retain(|version, _| present.contains(version));
        for &version in present {
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
    }

    /// The same with the current version by `choice`.
    pub(super) fn with_choice(mut self, name: &str, choice: Choice) -> Self {
        if choice == Choice::Unloaded {
            self.idle
                .extend(self.ready.keys().chain(self.unavailable.keys()));
            self.ready.clear();
            self.unavailable.clear();
        }
        self.choice = choice;
        self.choose(name);
        self
    }

    /// Sets the current version. A version that was chosen and cannot be served leaves the one
    /// before in its place.
    fn choose(&mut self, name: &str) {
        let before = self
            .current
            .filter(|version| self.ready.contains_key(version));
        let is_new = |current: &Option<u64>| *current != self.current;
        let current = match self.choice {
            Choice::Newest => self.ready.keys().next_back().copied(),
            Choice::Version(version) if self.ready.contains_key(&version) => Some(version),
            Choice::Version(_) | Choice::Unreadable(_) => before,
            Choice::Unloaded => None,
        };
        if let Some(version) = Some(current).filter(is_new).flatten() {
            tracing::info!(
                name: "model.current",
                { "ml.model_name" = name, "ml.model_version" = version.to_string() },
                "model {name} version {version} is the current one"
            );
        }
        if current.is_none() && self.current.is_some() {
            tracing::warn!(
                name: "model.stopped",
                { "ml.model_name" = name },
                "model {name} does not answer any more: it is unloaded, or has no version"
            );
        }
        self.current = current;
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
