//! The views that cannot be read or written at the moment: one record in the log when that begins and
//! one when it ends, and the reasons in the detail of `/readyz` meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use runtime::Health;

use crate::backend::BackendError;
use crate::outage_log::OutageLog;
use crate::views::FeatureView;

/// A kind of access to a view. Each fails alone: on a full disk only writes do.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Access {
    /// A lookup.
    Read,
    /// A write.
    Write,
    /// The check of its table at the start.
    Table,
}

/// The state of every view.
pub(crate) struct Faults {
    health: Health,
    views: RwLock<HashMap<usize, Arc<[Fault; 3]>>>,
    reasons: Mutex<BTreeMap<(Arc<str>, Access), String>>,
}

#[derive(Default)]
struct Fault {
    ongoing: AtomicBool,
    log: OutageLog,
}

/// Key in the detail of `/readyz`.
const KEY: &str = "feature_storage";

/// Errors of a connection. The backend logs the outage itself, once for all views.
const OF_CONNECTION: [&str; 5] = [
    "timeout",
    "connection_refused",
    "connection_lost",
    "tls",
    "name_not_resolved",
];

impl Faults {
    pub(crate) fn new(health: &Health) -> Self {
        Self {
            health: health.clone(),
            views: RwLock::default(),
            reasons: Mutex::default(),
        }
    }

    /// Records the outcome of a call.
    pub(crate) fn record(
        &self,
        view: &FeatureView,
        access: Access,
        outcome: Result<(), &BackendError>,
    ) {
        match outcome {
            Ok(()) => self.record_success(view, access),
            Err(error) if OF_CONNECTION.contains(&error.error_type) => {}
            Err(error) => self.record_failure(view, access, error),
        }
    }

    fn of(&self, view: &FeatureView) -> Arc<[Fault; 3]> {
        if let Some(faults) = self.views.read().get(&view.id) {
            return Arc::clone(faults);
        }
        Arc::clone(self.views.write().entry(view.id).or_default())
    }

    fn record_success(&self, view: &FeatureView, access: Access) {
        let faults = self.of(view);
        let fault = &faults[access as usize];
        // The plain load comes first, so that calls do not all write to one cache line.
        if !fault.ongoing.load(Ordering::Relaxed) || !fault.ongoing.swap(false, Ordering::Relaxed) {
            return;
        }
        self.change(|reasons| drop(reasons.remove(&(Arc::clone(&view.name), access))));
        if fault.log.ended() {
            let view = &*view.name;
            tracing::info!(name: "feature_store.storage_recovered", view, "the storage of {view} works again");
        }
    }

    fn record_failure(&self, view: &FeatureView, access: Access, error: &BackendError) {
        let faults = self.of(view);
        let fault = &faults[access as usize];
        let first = !fault.ongoing.swap(true, Ordering::Relaxed);
        let reason = || {
            runtime::without_secrets(&format!("{}: {}", error.error_type, runtime::chain(error)))
        };
        if first {
            let reason = format!("{}: {}", view.name, reason());
            let key = (Arc::clone(&view.name), access);
            self.change(|reasons| drop(reasons.insert(key, reason)));
        }
        if let Some(more) = fault.log.failed(first, Instant::now()) {
            let (view, error_type, cause) = (&*view.name, error.error_type, reason());
            tracing::warn!(
                name: "feature_store.storage_failed",
                { view, "error.type" = error_type, error = cause },
                "the storage of {view} fails: {cause}{more}"
            );
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<(Arc<str>, Access), String>)) {
        let mut reasons = self.reasons.lock();
        change(&mut reasons);
        let texts: Vec<&str> = reasons.values().map(String::as_str).collect();
        // Still locked, so that an older text never replaces a newer one.
        self.health
            .detail(KEY, (!texts.is_empty()).then(|| texts.join("; ")));
    }
}
