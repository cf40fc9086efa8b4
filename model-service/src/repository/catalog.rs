//! The versions that are served: read from the repository, refreshed when the folder shows something new.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::write::{is_name, version_number, versions};
use super::{FRAMEWORK, MANIFEST, Manifest, WEIGHTS};
use crate::candle::Mlp;
use crate::model::{Model, ModelError};

/// All models of a repository. Requests in flight keep the version they began with.
#[derive(Debug)]
pub struct Catalog {
    root: PathBuf,
    models: RwLock<Arc<Models>>,
    /// One refresh at a time.
    refreshing: Mutex<()>,
}

type Models = BTreeMap<String, Entry>;

/// One model: its good versions, what is wrong with others, and those of another framework.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    versions: BTreeMap<u64, Arc<Loaded>>,
    broken: BTreeMap<u64, Broken>,
    foreign: BTreeSet<u64>,
}

/// A version in memory, ready to compute.
pub struct Loaded {
    pub manifest: Manifest,
    pub model: Arc<dyn Model>,
}

/// Why there is no such version to serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    #[error("unknown model {0}")]
    UnknownModel(String),
    #[error("unknown version {version} of model {model}")]
    UnknownVersion { model: String, version: String },
    #[error("model {model} is not ready: {reason}")]
    NotReady { model: String, reason: String },
}

/// A version that cannot be served, remembered so that it is reported once and not at every refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Broken {
    reason: String,
    seen: Fingerprint,
}

/// Size and time of change of the files: a broken version is tried again when they differ.
type Fingerprint = [Option<(u64, SystemTime)>; 2];

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("{0} cannot be read")]
    Read(&'static str, #[source] io::Error),
    #[error("manifest.json is not a manifest")]
    Json(#[source] serde_json::Error),
    /// A version for another service, which is no fault.
    #[error("the version is computed by another framework")]
    Foreign,
    #[error("the manifest contradicts itself: {0}")]
    Manifest(String),
    #[error("the manifest says {0}, which is not its place")]
    Place(String),
    #[error("model.safetensors is not the file that the manifest was written for")]
    Hash,
    #[error("the model cannot be built")]
    Model(#[source] ModelError),
}

impl Catalog {
    /// An empty catalog of the repository at `root`, which need not exist yet; [`Catalog::refresh`] fills it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            models: RwLock::default(),
            refreshing: Mutex::new(()),
        }
    }

    /// Picks up what is new in the folder and lets go of what was removed. Blocks on the file system.
    ///
    /// Versions that are known are not read again: a version never changes. Returns whether anything is served.
    pub fn refresh(&self) -> io::Result<bool> {
        let _one = self
            .refreshing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = self.models();
        let mut models = Models::new();
        let names = match model_names(&self.root) {
            // Not there yet is a start; gone is a volume that went away, and what is loaded goes on being served.
            Err(error) if error.kind() == io::ErrorKind::NotFound && before.is_empty() => {
                Vec::new()
            }
            names => names?,
        };
        for name in names {
            let known = before.get(&name).cloned().unwrap_or_default();
            let folder = self.root.join(&name);
            let entry = known.refreshed(&name, &folder)?;
            if !entry.is_foreign() {
                models.insert(name, entry);
            }
        }
        let serving = models.values().any(|entry| !entry.versions.is_empty());
        *self.models.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(models);
        Ok(serving)
    }

    /// The version asked for, or the highest one.
    pub fn find(&self, name: &str, version: Option<&str>) -> Result<Arc<Loaded>, NotServed> {
        let models = self.models();
        let entry = models
            .get(name)
            .ok_or_else(|| NotServed::UnknownModel(name.to_owned()))?;
        let not_ready = |reason: &str| NotServed::NotReady {
            model: name.to_owned(),
            reason: reason.to_owned(),
        };
        let Some(version) = version else {
            let latest = entry.versions.last_key_value();
            return latest
                .map(|(_, loaded)| Arc::clone(loaded))
                .ok_or_else(|| not_ready(&entry.reason()));
        };
        let number = version_number(version);
        let found = number.and_then(|number| entry.versions.get(&number));
        let broken = number.and_then(|number| entry.broken.get(&number));
        match (found, broken) {
            (Some(loaded), _) => Ok(Arc::clone(loaded)),
            (None, Some(broken)) => {
                Err(not_ready(&format!("version {version}: {}", broken.reason)))
            }
            (None, None) => Err(NotServed::UnknownVersion {
                model: name.to_owned(),
                version: version.to_owned(),
            }),
        }
    }

    /// A catalog of one version that was never on a disk.
    #[cfg(test)]
    pub(crate) fn of(loaded: Loaded) -> Self {
        let catalog = Self::new("");
        let (name, number) = (
            loaded.manifest.name.clone(),
            loaded.manifest.version.parse(),
        );
        let mut entry = Entry::default();
        entry.versions.insert(number.unwrap_or(1), Arc::new(loaded));
        *catalog
            .models
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new([(name, entry)].into());
        catalog
    }

    /// All models by name, as they are now.
    pub fn models(&self) -> Arc<Models> {
        Arc::clone(&self.models.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entry {
    /// The good versions, lowest first.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        self.versions.values()
    }

    /// Versions that cannot be served, with the reason.
    pub fn broken(&self) -> impl Iterator<Item = (u64, &str)> {
        self.broken
            .iter()
            .map(|(version, broken)| (*version, broken.reason.as_str()))
    }

    /// Whether there are versions, and all are for another service: then the model is not one of this service's.
    fn is_foreign(&self) -> bool {
        self.versions.is_empty() && self.broken.is_empty() && !self.foreign.is_empty()
    }

    fn reason(&self) -> String {
        match self.broken.last_key_value() {
            Some((version, broken)) => format!("version {version}: {}", broken.reason),
            None => "it has no version yet".to_owned(),
        }
    }

    fn refreshed(mut self, name: &str, folder: &Path) -> io::Result<Self> {
        let present: BTreeSet<u64> = match versions(folder) {
            // The folder went away between being listed and being read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            versions => versions?.into_iter().collect(),
        };
        self.versions.retain(|version, _| present.contains(version));
        self.broken.retain(|version, _| present.contains(version));
        self.foreign.retain(|version| present.contains(version));
        for version in present {
            if self.versions.contains_key(&version) || self.foreign.contains(&version) {
                continue;
            }
            let place = folder.join(version.to_string());
            let seen = fingerprint(&place);
            if self
                .broken
                .get(&version)
                .is_some_and(|broken| broken.seen == seen)
            {
                continue;
            }
            self.take(name, version, load(name, version, &place), seen);
        }
        Ok(self)
    }

    /// Files a version that was just looked at under what became of it, and tells.
    fn take(
        &mut self,
        name: &str,
        version: u64,
        loaded: Result<Loaded, LoadError>,
        seen: Fingerprint,
    ) {
        self.broken.remove(&version);
        match loaded {
            Ok(loaded) => {
                tracing::info!(
                    name: "model.loaded",
                    { "ml.model_name" = name, "ml.model_version" = version.to_string(), "ml.run_id" = loaded.manifest.run_id },
                    "model {name} version {version} is loaded"
                );
                self.versions.insert(version, Arc::new(loaded));
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
                self.broken.insert(version, Broken { reason, seen });
            }
        }
    }
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "Loaded({} {})",
            self.manifest.name, self.manifest.version
        )
    }
}

fn load(name: &str, version: u64, place: &Path) -> Result<Loaded, LoadError> {
    let read = |file| fs::read(place.join(file)).map_err(|error| LoadError::Read(file, error));
    let manifest = read(MANIFEST)?;
    // Looked at first: what else another framework's manifest holds is its own affair.
    let maker: Maker = serde_json::from_slice(&manifest).map_err(LoadError::Json)?;
    if maker
        .framework
        .is_some_and(|framework| framework != FRAMEWORK)
    {
        return Err(LoadError::Foreign);
    }
    let manifest: Manifest = serde_json::from_slice(&manifest).map_err(LoadError::Json)?;
    if manifest.name != name || manifest.version != version.to_string() {
        let said = format!("{} version {}", manifest.name, manifest.version);
        return Err(LoadError::Place(said));
    }
    manifest.check().map_err(LoadError::Manifest)?;
    let weights = read(WEIGHTS)?;
    if hex::encode(Sha256::digest(&weights)) != manifest.weights_sha256 {
        return Err(LoadError::Hash);
    }
    let model = Mlp::from_safetensors(&weights, &manifest.widths()).map_err(LoadError::Model)?;
    Ok(Loaded {
        manifest,
        model: Arc::new(model),
    })
}

/// As much of any manifest as tells whose it is.
#[derive(serde::Deserialize)]
struct Maker {
    framework: Option<String>,
}

/// The folders that can be models.
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
    [MANIFEST, WEIGHTS].map(|file| {
        let metadata = fs::metadata(place.join(file)).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    })
}
