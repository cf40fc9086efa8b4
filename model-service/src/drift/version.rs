//! A version under watch: its window, and whether it drifts.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::reference::Reference;
use super::score::{Score, ScoredWindow};
use super::window::{Observation, Window};
use super::{DriftOptions, instruments};
use crate::repository::Manifest;

/// What is known of a version's drift.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drift {
    /// Since when it drifts.
    pub(crate) since: Option<Timestamp>,
    /// The last window that ended.
    pub(crate) window: Option<ScoredWindow>,
    /// Rows of the window that fills.
    pub(crate) waiting_rows: usize,
}

#[derive(Debug)]
pub(super) struct Version {
    run_id: String,
    reference: Reference,
    window: Window,
    last: Option<ScoredWindow>,
    since: Option<Timestamp>,
    logged: Option<Instant>,
    used: Instant,
}

/// Drift ends when no score exceeds this part of its threshold any more, so that a score about its
/// threshold does not begin and end it again and again.
const CALM: f64 = 0.8;
/// Drift that lasts is logged again after this time.
const LOG_AGAIN: Duration = Duration::from_mins(1);

impl Version {
    pub(super) fn new(manifest: &Manifest, options: &DriftOptions) -> Self {
        Self {
            run_id: manifest.run_id.clone(),
            reference: Reference::new(manifest, options.windows_per_false_alarm),
            window: Window::default(),
            last: None,
            since: None,
            logged: None,
            used: Instant::now(),
        }
    }

    /// Whether this is that version, and not one that took its place.
    pub(super) fn is_of(&self, manifest: &Manifest) -> bool {
        self.run_id == manifest.run_id
    }

    pub(super) fn used(&self) -> Instant {
        self.used
    }

    pub(super) fn run_id(&self) -> &str {
        &self.run_id
    }

    pub(super) fn is_drifting(&self) -> bool {
        self.since.is_some()
    }

    pub(super) fn drift(&self) -> Drift {
        Drift {
            since: self.since,
            window: self.last.clone(),
            waiting_rows: self.window.rows(),
        }
    }

    pub(super) fn push(
        &mut self,
        observation: Observation,
        manifest: &Manifest,
        options: &DriftOptions,
    ) {
        self.used = Instant::now();
        self.window.push(observation);
        if self.window.is_full(options.window) {
            let window = self.end_window();
            instruments::record(&window, manifest, &options.variant);
            self.judge(&window, manifest, &options.variant);
            self.last = Some(window);
        }
    }

    fn end_window(&mut self) -> ScoredWindow {
        let window = std::mem::take(&mut self.window);
        let scores = window.scores(&self.reference);
        let drifted = scores.iter().filter(|score| score.is_drift());
        let worst = drifted.max_by(|one, other| one.excess().total_cmp(&other.excess()));
        let trace_ids = worst.map(|worst| window.examples(&self.reference, worst));
        ScoredWindow {
            number: self.last.as_ref().map_or(0, |last| last.number) + 1,
            rows: window.rows(),
            first_at: window.first_at(),
            last_at: Timestamp::now(),
            trace_ids: trace_ids.unwrap_or_default(),
            scores,
        }
    }

    fn judge(&mut self, window: &ScoredWindow, manifest: &Manifest, variant: &str) {
        let excess = window.scores.iter().map(Score::excess);
        let most = excess.fold(0.0, f64::max);
        if most > 1.0 {
            let again = |at: Instant| at.elapsed() >= LOG_AGAIN;
            if self.since.is_none() || self.logged.is_none_or(again) {
                instruments::log_detected(window, manifest, variant);
                self.logged = Some(Instant::now());
            }
            self.since.get_or_insert(window.last_at);
        } else if most <= CALM && self.since.take().is_some() {
            instruments::log_ended(window, manifest, variant);
        }
    }
}
