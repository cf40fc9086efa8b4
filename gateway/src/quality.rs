//! How good the predictions of each version were, by what turned out to be true: tumbling windows of
//! feedback by model, variant and version, beside what their confidence promised.
//!
//! All of it is bounded and in memory, as the statistics are; of an id only a hash is kept. A
//! prediction counts once: later feedback about it replaces the earlier one in the window that the
//! earlier one is in.

mod instruments;
mod read;
mod recent;
mod window;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;

pub(crate) use read::{__path_read, QualityReader, read};
use recent::Recent;
pub(crate) use window::{Outcome, Sums, Window};

use crate::store::{Key, StoredPrediction};

/// Versions with feedback, over all models; the one whose last feedback is oldest leaves first.
const MAX_VERSIONS: usize = 64;
/// Names of scores of one version; those of further ones are logged and not added up.
const MAX_SCORES: usize = 16;

/// The feedback of all versions.
#[derive(Debug)]
pub(crate) struct Quality {
    window_rows: u64,
    hasher: RandomState,
    versions: Mutex<HashMap<VersionKey, VersionRecord>>,
}

/// What became of a piece of feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    Counted,
    /// Earlier feedback about the same prediction counts no longer.
    Replaced,
}

/// What is known of one version.
#[derive(Clone, Debug)]
pub(crate) struct VersionSummary {
    pub(crate) variant: String,
    pub(crate) version: String,
    pub(crate) run_id: Option<String>,
    /// Since the start of this gateway.
    pub(crate) all: Sums,
    pub(crate) last: Option<Window>,
    pub(crate) filling: Option<Window>,
    pub(crate) scores: BTreeMap<String, ScoreSums>,
}

/// The scores of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ScoreSums {
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct VersionKey {
    model: Arc<str>,
    variant: Arc<str>,
    version: Arc<str>,
}

#[derive(Debug)]
struct VersionRecord {
    run_id: Option<String>,
    last_at: Timestamp,
    all: Sums,
    last: Option<Window>,
    filling: Option<Window>,
    /// Windows that have ended.
    ended: u64,
    /// By prediction, the window that its outcome is in.
    outcomes: Recent<(u64, Outcome)>,
    scores: BTreeMap<String, ScoreSums>,
    /// By prediction and name.
    scored: Recent<f64>,
}

impl Recorded {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Replaced => "replaced",
        }
    }
}

impl Quality {
    pub(crate) fn new(window_rows: u64) -> Self {
        Self {
            window_rows: window_rows.max(1),
            hasher: RandomState::new(),
            versions: Mutex::default(),
        }
    }

    pub(crate) fn window_rows(&self) -> u64 {
        self.window_rows
    }

    /// Records what turned out to be true of a prediction.
    pub(crate) fn record_outcome(
        &self,
        of: &StoredPrediction,
        outcome: Outcome,
        now: Timestamp,
    ) -> Recorded {
        let id = self.hasher.hash_one(&of.key.data_id);
        let (recorded, changed) = self.with_version(of, now, |version| {
            version.record_outcome(id, outcome, self.window_rows, now)
        });
        instruments::count(&of.key, recorded);
        if let Some(sums) = changed {
            instruments::window(&of.key, &sums);
        }
        recorded
    }

    /// Records a score that somebody gave to a prediction.
    pub(crate) fn record_score(
        &self,
        of: &StoredPrediction,
        name: &str,
        score: f64,
        now: Timestamp,
    ) -> Recorded {
        let id = self.hasher.hash_one((&of.key.data_id, name));
        let recorded = self.with_version(of, now, |version| version.record_score(id, name, score));
        instruments::count(&of.key, recorded);
        recorded
    }

    /// The versions of a model that have feedback, by variant and version.
    pub(crate) fn of_model(&self, model: &str) -> Vec<VersionSummary> {
        let versions = self.versions.lock();
        let of_model = versions.iter().filter(|(key, _)| *key.model == *model);
        let mut summaries: Vec<_> = of_model
            .map(|(key, record)| record.summary(&key.variant, &key.version))
            .collect();
        drop(versions);
        summaries.sort_by(|one, other| {
            (&one.variant, &one.version).cmp(&(&other.variant, &other.version))
        });
        summaries
    }

    fn with_version<T>(
        &self,
        of: &StoredPrediction,
        now: Timestamp,
        record: impl FnOnce(&mut VersionRecord) -> T,
    ) -> T {
        let key = VersionKey::of(&of.key);
        let mut versions = self.versions.lock();
        if versions.len() >= MAX_VERSIONS && !versions.contains_key(&key) {
            let oldest = versions.iter().min_by_key(|(_, record)| record.last_at);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                versions.remove(&oldest);
            }
        }
        let version = versions
            .entry(key)
            .or_insert_with(|| VersionRecord::new(now));
        version.last_at = now;
        if of.run_id.is_some() {
            version.run_id.clone_from(&of.run_id);
        }
        record(version)
    }
}

impl VersionKey {
    fn of(key: &Key) -> Self {
        Self {
            model: Arc::clone(&key.model),
            variant: Arc::clone(&key.variant),
            version: Arc::clone(&key.version),
        }
    }
}

impl VersionRecord {
    fn new(now: Timestamp) -> Self {
        Self {
            run_id: None,
            last_at: now,
            all: Sums::default(),
            last: None,
            filling: None,
            ended: 0,
            outcomes: Recent::default(),
            scores: BTreeMap::new(),
            scored: Recent::default(),
        }
    }

    /// Returns also the sums of the last window, if they have changed.
    fn record_outcome(
        &mut self,
        id: u64,
        outcome: Outcome,
        window_rows: u64,
        now: Timestamp,
    ) -> (Recorded, Option<Sums>) {
        if let Some((number, before)) = self.outcomes.get(id) {
            let changed = self.replace(number, before, outcome);
            self.outcomes.put(id, (number, outcome));
            return (Recorded::Replaced, changed);
        }
        self.all.add(outcome);
        let number = self.ended + 1;
        let window = self.filling.get_or_insert_with(|| Window::new(number, now));
        window.sums.add(outcome);
        window.last_at = now;
        self.outcomes.put(id, (number, outcome));
        if window.sums.rows < window_rows {
            return (Recorded::Counted, None);
        }
        self.ended = number;
        self.last = self.filling.take();
        (Recorded::Counted, self.last.as_ref().map(|last| last.sums))
    }

    /// Replaces an outcome in the sums, as far as its window is still kept.
    fn replace(&mut self, number: u64, before: Outcome, outcome: Outcome) -> Option<Sums> {
        let swap = |sums: &mut Sums| {
            sums.remove(before);
            sums.add(outcome);
        };
        swap(&mut self.all);
        for window in [&mut self.filling, &mut self.last] {
            if let Some(window) = window.as_mut().filter(|window| window.number == number) {
                swap(&mut window.sums);
            }
        }
        let last = self.last.as_ref().filter(|last| last.number == number)?;
        Some(last.sums)
    }

    fn record_score(&mut self, id: u64, name: &str, score: f64) -> Recorded {
        let before = self.scored.put(id, score);
        if self.scores.len() < MAX_SCORES || self.scores.contains_key(name) {
            let sums = self.scores.entry(name.to_owned()).or_default();
            sums.sum += score - before.unwrap_or_default();
            sums.count += u64::from(before.is_none());
        }
        match before {
            Some(_) => Recorded::Replaced,
            None => Recorded::Counted,
        }
    }

    fn summary(&self, variant: &str, version: &str) -> VersionSummary {
        VersionSummary {
            variant: variant.to_owned(),
            version: version.to_owned(),
            run_id: self.run_id.clone(),
            all: self.all,
            last: self.last.clone(),
            filling: self.filling.clone(),
            scores: self.scores.clone(),
        }
    }
}
