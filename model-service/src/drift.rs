//! Drift: windows of what each version is asked and answers, compared with the reference profile
//! of its training.
//!
//! A request leaves a copy of its inputs and outputs in a bounded queue; a thread of its own does
//! the rest, so no answer waits for it. A window of a version ends when it has enough rows. Its
//! scores have thresholds that depend on the number of rows, such that windows without drift raise
//! one false alarm in a number that is set.

mod divergence;
mod inbox;
mod instruments;
mod reference;
mod score;
mod threshold;
mod version;
mod window;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::feature_rows::FeatureRows;
use crate::repository::{Loaded, Manifest, TEXT_FEATURES};
use inbox::Inbox;
pub(crate) use score::ScoredWindow;
pub(crate) use version::Drift;
use version::Version;
use window::Observation;

/// Compares what the versions see with their references; ends its thread when it is dropped.
#[derive(Debug)]
pub(crate) struct DriftMonitor {
    shared: Arc<Shared>,
}

#[derive(Clone, Debug)]
pub(crate) struct DriftOptions {
    /// Rows with all their values that end a window.
    pub(crate) window: usize,
    /// Windows without drift for one false alarm.
    pub(crate) windows_per_false_alarm: u32,
    /// Name of this service in metrics and events.
    pub(crate) variant: String,
}

/// The inputs of a request as the profile has them: before normalisation, or the counts of tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs {
    /// Row-major; only rows that have all values.
    pub(crate) values: Vec<f32>,
    /// Values of a row.
    pub(crate) width: usize,
    /// Missing values per feature; empty if none is missing.
    pub(crate) missing: Vec<u64>,
    /// Rows, also those with missing values.
    pub(crate) rows: usize,
}

/// The answers for the rows that have one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outputs {
    /// None of a regression.
    pub(crate) classes: Vec<usize>,
    /// The confidence of each class, or the numbers of a regression.
    pub(crate) values: Vec<f32>,
}

/// Versions that are watched at the same time; one that was used longest ago gives way.
const MAX_VERSIONS: usize = 256;

/// Name and version of a model.
type Key = (Arc<str>, Arc<str>);

type Versions = BTreeMap<Key, Version>;

#[derive(Debug)]
struct Shared {
    options: DriftOptions,
    inbox: Inbox,
    /// Never locked for an answer.
    versions: Mutex<Versions>,
    /// The training runs whose versions drift; changed only when drift begins or ends.
    drifting: RwLock<Vec<String>>,
}

impl DriftMonitor {
    pub(crate) fn start(options: DriftOptions) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            options,
            inbox: Inbox::default(),
            versions: Mutex::default(),
            drifting: RwLock::default(),
        });
        let worker = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("drift".to_owned())
            .spawn(move || {
                while let Some(seen) = worker.inbox.take() {
                    worker.process(seen);
                }
            })?;
        Ok(Self { shared })
    }

    /// Takes note of a request and of its answer, which is empty if no row could be computed. If too
    /// many requests wait already, its rows are only counted. A version without a reference profile is
    /// not watched.
    pub(crate) fn observe(&self, loaded: &Arc<Loaded>, inputs: Inputs, outputs: Outputs) {
        if inputs.rows == 0 || !loaded.manifest.has_reference() {
            return;
        }
        let rows = inputs.rows;
        let observation = Observation::new(inputs, outputs);
        if !self.shared.inbox.push(Arc::clone(loaded), observation) {
            instruments::dropped(&loaded.manifest, rows);
        }
    }

    /// Whether a version drifts, for its spans.
    pub(crate) fn is_drifting(&self, manifest: &Manifest) -> bool {
        self.shared.drifting.read().contains(&manifest.run_id)
    }

    /// What is known of a version.
    pub(crate) fn drift(&self, loaded: &Loaded) -> Drift {
        let versions = self.shared.versions.lock();
        let version = versions.get(&key(loaded));
        version
            .filter(|version| version.is_of(&loaded.manifest))
            .map(Version::drift)
            .unwrap_or_default()
    }

    pub(crate) fn options(&self) -> &DriftOptions {
        &self.shared.options
    }
}

impl Drop for DriftMonitor {
    fn drop(&mut self) {
        self.shared.inbox.close();
    }
}

impl Shared {
    fn process(&self, seen: Vec<(Arc<Loaded>, Observation)>) {
        let mut versions = self.versions.lock();
        for (loaded, observation) in seen {
            let (key, manifest) = (key(&loaded), &loaded.manifest);
            if let Some(gone) = make_room(&mut versions, &key, manifest) {
                self.mark(gone.run_id(), false);
            }
            let version = versions
                .entry(key)
                .or_insert_with(|| Version::new(manifest, &self.options));
            version.push(observation, manifest, &self.options);
            self.mark(&manifest.run_id, version.is_drifting());
        }
    }

    fn mark(&self, run_id: &str, drifts: bool) {
        if self.drifting.read().iter().any(|other| other == run_id) != drifts {
            let mut drifting = self.drifting.write();
            drifting.retain(|other| other != run_id);
            drifting.extend(drifts.then(|| run_id.to_owned()));
        }
    }
}

/// Takes out what is in the way of a version that is not watched yet: one of the same name that was
/// trained before, or if there are too many the one that was used longest ago.
fn make_room(versions: &mut Versions, key: &Key, manifest: &Manifest) -> Option<Version> {
    match versions.get(key) {
        Some(version) if version.is_of(manifest) => return None,
        Some(_) => return versions.remove(key),
        None if versions.len() < MAX_VERSIONS => return None,
        None => {}
    }
    let oldest = versions.iter().min_by_key(|(_, version)| version.used());
    let oldest = oldest.map(|(oldest, _)| oldest.clone());
    oldest.and_then(|oldest| versions.remove(&oldest))
}

fn key(loaded: &Loaded) -> Key {
    let names = &loaded.names;
    (Arc::clone(&names.model), Arc::clone(&names.version))
}

impl Inputs {
    /// Rows without an entity, or with features that are too old, are not rows of the model.
    pub(crate) fn of_table(features: &FeatureRows) -> Self {
        Self {
            values: features.values.clone(),
            width: features.width,
            missing: features.missing.clone(),
            rows: features.rows_with_entity(),
        }
    }

    pub(crate) fn of_texts(counts: &[(usize, usize)]) -> Self {
        let values = counts.iter().flat_map(|(tokens, unknown)| {
            [*tokens as f32, (*unknown as f64 / *tokens as f64) as f32]
        });
        Self {
            values: values.collect(),
            width: TEXT_FEATURES.len(),
            missing: Vec::new(),
            rows: counts.len(),
        }
    }
}

#[cfg(test)]
mod tests;
