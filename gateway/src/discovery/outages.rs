//! The model services that do not answer: each outage is logged once, and shown in the detail of
//! `/readyz`.

use std::sync::Arc;

use parking_lot::Mutex;
use runtime::Health;

use crate::model_client::CallError;
use crate::traffic::Variant;

/// The services that did not answer when they were last asked, and why.
#[derive(Debug)]
pub(super) struct Outages {
    health: Health,
    down: Mutex<Vec<Down>>,
}

#[derive(Debug)]
struct Down {
    service: Variant,
    error: Arc<CallError>,
}

impl Outages {
    pub(super) fn new(health: Health) -> Self {
        Self {
            health,
            down: Mutex::default(),
        }
    }

    /// The error of a service that did not answer in time when it was last asked.
    pub(super) fn timed_out(&self, service: &Variant) -> Option<Arc<CallError>> {
        let down = self.down.lock();
        let error = &down.iter().find(|down| down.service.is_at(service))?.error;
        matches!(**error, CallError::TimedOut(_)).then(|| Arc::clone(error))
    }

    /// Whether none of these services answers.
    pub(super) fn are_all(&self, services: &[Variant]) -> bool {
        let down = self.down.lock();
        let is_down = |service: &Variant| down.iter().any(|down| down.service.is_at(service));
        services.iter().all(is_down)
    }

    /// Records that a service did not answer; `services` are all services.
    pub(super) fn begin(&self, service: &Variant, error: CallError, services: &[Variant]) {
        let (code, error) = (error.code().as_str(), Arc::new(error));
        let mut down = self.down.lock();
        if let Some(known) = down.iter_mut().find(|known| known.service.is_at(service)) {
            known.error = error;
            return;
        }
        down.push(Down {
            service: service.clone(),
            error,
        });
        self.report(&down, services);
        tracing::warn!(
            name: "model_service.down",
            { "ml.variant" = &*service.name, "error.type" = code },
            "the model service is down ({code}): variant {} answers only stored predictions",
            service.name
        );
    }

    /// Records that a service answered.
    pub(super) fn end(&self, service: &Variant, services: &[Variant]) {
        if self.retain(services, |known| !known.is_at(service)) {
            tracing::info!(
                name: "model_service.up",
                { "ml.variant" = &*service.name },
                "the model service of variant {} answers",
                service.name
            );
        }
    }

    /// Forgets services that are no longer in use.
    pub(super) fn keep_only(&self, services: &[Variant]) {
        self.retain(services, |known| {
            services.iter().any(|service| service.is_at(known))
        });
    }

    fn retain(&self, services: &[Variant], keep: impl Fn(&Variant) -> bool) -> bool {
        let mut down = self.down.lock();
        let before = down.len();
        down.retain(|known| keep(&known.service));
        let changed = down.len() != before;
        if changed {
            self.report(&down, services);
        }
        changed
    }

    /// Writes the detail of `/readyz`; where there are several services, it names them.
    fn report(&self, down: &[Down], services: &[Variant]) {
        let each = down.iter().map(|Down { service, error }| match services {
            [_] => format!("down ({})", error.code()),
            _ => format!("{} is down ({})", service.name, error.code()),
        });
        let each = each.collect::<Vec<_>>().join(", ");
        let detail =
            (!down.is_empty()).then(|| format!("{each}: only stored predictions are answered"));
        self.health.detail("model_service", detail);
    }
}
