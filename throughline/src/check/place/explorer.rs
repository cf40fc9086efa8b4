//! The explorer as the place to look.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use explorer::{LogEntry, Trace};

use super::{LogQuery, LogRecord, ServiceMetrics};
use crate::explorer_client::ExplorerClient;

/// How many traces of a service are read.
const RECENT: usize = 50;

/// An explorer.
pub(crate) struct ExplorerPlace {
    client: ExplorerClient,
}

impl ExplorerPlace {
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        Ok(Self {
            client: ExplorerClient::new(url)?,
        })
    }

    pub(super) async fn services(&self) -> anyhow::Result<BTreeSet<String>> {
        let services = self.client.services().await?;
        Ok(services.into_iter().map(|service| service.name).collect())
    }

    pub(super) async fn trace(&self, trace_id: &str) -> anyhow::Result<Option<Trace>> {
        self.client.trace(trace_id).await
    }

    pub(super) async fn recent(&self, service: &str) -> anyhow::Result<Vec<Trace>> {
        let query = format!("limit={RECENT}&service={service}");
        let mut traces = Vec::new();
        for summary in self.client.traces(&query).await? {
            // It may be evicted in between.
            traces.extend(self.client.trace(&summary.trace_id).await?);
        }
        Ok(traces)
    }

    pub(super) async fn metrics(&self, service: &str) -> anyhow::Result<ServiceMetrics> {
        let mut metrics = ServiceMetrics::default();
        for name in self.client.metric_names().await? {
            let series = self.client.metric(&name).await?;
            for series in series.iter().filter(|series| series.service == service) {
                let time = series.time.as_deref().map_or(0, nanoseconds);
                metrics.newest = metrics.newest.max(time);
                metrics.names.insert(name.clone());
            }
        }
        Ok(metrics)
    }

    pub(super) async fn logs(&self, wanted: &LogQuery<'_>) -> anyhow::Result<Vec<LogRecord>> {
        let mut query = "limit=200".to_owned();
        for (name, value) in [
            ("service", wanted.service),
            ("trace_id", wanted.trace_id),
            // A search in the text of the attributes, whose names are part of it.
            ("q", wanted.attribute),
        ] {
            if let Some(value) = value {
                let _ = write!(query, "&{name}={value}");
            }
        }
        let entries = self.client.logs(&query).await?.into_iter();
        let has = |entry: &LogEntry| {
            wanted
                .attribute
                .is_none_or(|name| entry.attributes.contains_key(name))
        };
        Ok(entries.filter(has).map(record).collect())
    }
}

fn record(entry: LogEntry) -> LogRecord {
    LogRecord {
        service: entry.service,
        event_name: entry.event_name.unwrap_or_default(),
        time: entry.time.as_deref().map_or(0, nanoseconds),
        attributes: entry.attributes.into_iter().collect(),
    }
}

/// A time of RFC 3339 as nanoseconds since 1970; 0 if it is none.
fn nanoseconds(time: &str) -> u64 {
    let time: Option<jiff::Timestamp> = time.parse().ok();
    time.and_then(|time| u64::try_from(time.as_nanosecond()).ok())
        .unwrap_or_default()
}
