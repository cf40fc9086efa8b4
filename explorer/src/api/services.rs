//! `GET /api/services`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::answer::{self, Encoded};
use crate::error::ReadError;
use crate::store::TelemetryStore;

/// What is stored of one service; an entry of `GET /api/services`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// `service.name`.
    pub name: String,
    /// Stored spans.
    pub spans: usize,
    /// Stored spans with status ERROR.
    pub errors: usize,
    /// Stored log records.
    pub logs: usize,
    /// Stored metric series.
    pub series: usize,
}

pub(super) async fn list(State(store): State<Arc<TelemetryStore>>) -> Result<Encoded, ReadError> {
    answer::build(move || answer::list("services", summaries(&store))).await
}

fn summaries(store: &TelemetryStore) -> impl Iterator<Item = ServiceSummary> + use<> {
    let mut services = Services::default();
    store.traces.each_span(|service, error| {
        let summary = services.entry(service);
        summary.spans += 1;
        summary.errors += usize::from(error);
    });
    for log in store.logs.newest_first() {
        services.entry(&log.source.service).logs += 1;
    }
    store
        .metrics
        .each_series(|service| services.entry(service).series += 1);
    services.0.into_values()
}

#[derive(Default)]
struct Services(BTreeMap<String, ServiceSummary>);

impl Services {
    fn entry(&mut self, name: &str) -> &mut ServiceSummary {
        let summary = self.0.entry(name.to_owned()).or_default();
        if summary.name.is_empty() {
            name.clone_into(&mut summary.name);
        }
        summary
    }
}
