//! Where telemetry ends up: an explorer, Elasticsearch or Jaeger, with the same questions to each.

mod elasticsearch;
mod explorer;
mod jaeger;
mod otlp;

use std::collections::BTreeSet;
use std::fmt;

use ::explorer::Trace;
use ::explorer::trace::AttributeMap;

pub(crate) use self::elasticsearch::Elasticsearch;

use self::explorer::ExplorerPlace;
use self::jaeger::Jaeger;
use super::args::PlaceArgs;

const DEFAULT_EXPLORER: &str = "http://127.0.0.1:8090";

/// One place, to which the deployment sends its telemetry.
pub(crate) enum Place {
    Explorer(ExplorerPlace),
    Elasticsearch(Elasticsearch),
    Jaeger(Jaeger),
}

/// What a place may keep beside traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Metrics,
    Logs,
}

/// The metrics of one service.
#[derive(Debug, Default)]
pub(crate) struct ServiceMetrics {
    pub(crate) names: BTreeSet<String>,
    /// When the newest data point was taken; nanoseconds since 1970.
    pub(crate) newest: u64,
}

/// Which log records are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogQuery<'a> {
    pub(crate) service: Option<&'a str>,
    pub(crate) trace_id: Option<&'a str>,
    /// Only records with this attribute.
    pub(crate) attribute: Option<&'a str>,
}

/// One log record.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogRecord {
    pub(crate) service: String,
    pub(crate) event_name: String,
    /// Nanoseconds since 1970.
    pub(crate) time: u64,
    pub(crate) attributes: AttributeMap,
}

impl Place {
    /// The place that the options name, else the one that the environment names, else the explorer
    /// of `throughline up`.
    pub(crate) fn new(args: &PlaceArgs) -> anyhow::Result<Self> {
        if let Some(url) = &args.explorer {
            return ExplorerPlace::new(url).map(Self::Explorer);
        }
        if let Some(url) = &args.elasticsearch {
            return Elasticsearch::new(url).map(Self::Elasticsearch);
        }
        if let Some(url) = &args.jaeger {
            return Jaeger::new(url).map(Self::Jaeger);
        }
        if let Some(url) = variable("EXPLORER_URL") {
            return ExplorerPlace::new(&url).map(Self::Explorer);
        }
        if let Some(url) = variable("ELASTICSEARCH_URL") {
            return Elasticsearch::new(&url).map(Self::Elasticsearch);
        }
        if let Some(url) = variable("JAEGER_URL") {
            return Jaeger::new(&url).map(Self::Jaeger);
        }
        ExplorerPlace::new(DEFAULT_EXPLORER).map(Self::Explorer)
    }

    /// Why this place has no such telemetry, if that is so by its nature.
    pub(crate) fn gap(&self, signal: Signal) -> Option<&'static str> {
        match (self, signal) {
            (Self::Jaeger(_), Signal::Metrics) => Some("Jaeger keeps no metrics"),
            (Self::Jaeger(_), Signal::Logs) => Some("Jaeger keeps no log records"),
            _ => None,
        }
    }

    /// The services that have sent anything, to see that the place answers.
    pub(crate) async fn services(&self) -> anyhow::Result<BTreeSet<String>> {
        match self {
            Self::Explorer(place) => place.services().await,
            Self::Elasticsearch(place) => place.services().await,
            Self::Jaeger(place) => place.services().await,
        }
    }

    /// The trace as far as it has arrived.
    pub(crate) async fn trace(&self, trace_id: &str) -> anyhow::Result<Option<Trace>> {
        match self {
            Self::Explorer(place) => place.trace(trace_id).await,
            Self::Elasticsearch(place) => place.trace(trace_id).await,
            Self::Jaeger(place) => place.trace(trace_id).await,
        }
    }

    /// The newest traces of a service; from Elasticsearch only the spans of that service.
    pub(crate) async fn recent(&self, service: &str) -> anyhow::Result<Vec<Trace>> {
        match self {
            Self::Explorer(place) => place.recent(service).await,
            Self::Elasticsearch(place) => place.recent(service).await,
            Self::Jaeger(place) => place.recent(service).await,
        }
    }

    /// The metrics of a service; none from a place that has a [gap](Self::gap).
    pub(crate) async fn metrics(&self, service: &str) -> anyhow::Result<ServiceMetrics> {
        match self {
            Self::Explorer(place) => place.metrics(service).await,
            Self::Elasticsearch(place) => place.metrics(service).await,
            Self::Jaeger(_) => Ok(ServiceMetrics::default()),
        }
    }

    /// The newest log records that match; none from a place that has a [gap](Self::gap).
    pub(crate) async fn logs(&self, query: &LogQuery<'_>) -> anyhow::Result<Vec<LogRecord>> {
        match self {
            Self::Explorer(place) => place.logs(query).await,
            Self::Elasticsearch(place) => place.logs(query).await,
            Self::Jaeger(_) => Ok(Vec::new()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Explorer(_) => "the explorer",
            Self::Elasticsearch(_) => "Elasticsearch",
            Self::Jaeger(_) => "Jaeger",
        })
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
