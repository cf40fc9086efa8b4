//! The model services that do not answer: each outage is told once, in the log and in the detail of `/readyz`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime::Health;

use crate::model::ModelError;
use crate::routes::Variant;

/// The services that did not answer when they were asked last, and why.
#[derive(Debug)]
pub(super) struct Outages {
    health: Health,
    down: Mutex<Down>,
}

type Down = Vec<(Variant, Arc<ModelError>)>;

impl Outages {
    pub(super) fn new(health: Health) -> Self {
        Self {
            health,
            down: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Down> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of a service that did not answer in time when it was asked last.
    pub(super) fn silent(&self, service: &Variant) -> Option<Arc<ModelError>> {
        let down = self.lock();
        let error = &down.iter().find(|(known, _)| known.is_at(service))?.1;
        matches!(**error, ModelError::TimedOut(_)).then(|| Arc::clone(error))
    }

    /// Whether none of these services answers.
    pub(super) fn are_all(&self, services: &[Variant]) -> bool {
        let down = self.lock();
        services
            .iter()
            .all(|service| down.iter().any(|(known, _)| known.is_at(service)))
    }

    /// A service did not answer; `services` are all that there are.
    pub(super) fn begin(&self, service: &Variant, error: ModelError, services: &[Variant]) {
        let (code, error) = (error.code(), Arc::new(error));
        let mut down = self.lock();
        if let Some((_, known)) = down.iter_mut().find(|(known, _)| known.is_at(service)) {
            *known = error;
            return;
        }
        down.push((service.clone(), error));
        self.tell(&down, services);
        tracing::warn!(
            name: "model_service.down",
            { "ml.variant" = &*service.name, "error.type" = code },
            "the model service is down ({code}): of variant {} only stored predictions are answered",
            service.name
        );
    }

    /// A service answered.
    pub(super) fn end(&self, service: &Variant, services: &[Variant]) {
        if self.forget(services, |known| !known.is_at(service)) {
            tracing::info!(
                name: "model_service.up",
                { "ml.variant" = &*service.name },
                "the model service of variant {} answers",
                service.name
            );
        }
    }

    /// Of services that are none any more nothing is told.
    pub(super) fn keep_only(&self, services: &[Variant]) {
        self.forget(services, |known| {
            services.iter().any(|service| service.is_at(known))
        });
    }

    fn forget(&self, services: &[Variant], keep: impl Fn(&Variant) -> bool) -> bool {
        let mut down = self.lock();
        let before = down.len();
        down.retain(|(known, _)| keep(known));
        let forgotten = down.len() != before;
        if forgotten {
            self.tell(&down, services);
        }
        forgotten
    }

    /// The detail of `/readyz`; names are told where there are several services.
    fn tell(&self, down: &Down, services: &[Variant]) {
        let what = down.iter().map(|(service, error)| match services {
            [_] => format!("down ({})", error.code()),
            _ => format!("{} is down ({})", service.name, error.code()),
        });
        let what = what.collect::<Vec<_>>().join(", ");
        let text =
            (!down.is_empty()).then(|| format!("{what}: only stored predictions are answered"));
        self.health.detail("model_service", text);
    }
}
