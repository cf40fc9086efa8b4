//! `GET /api/metrics`.

use std::sync::Arc;

use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{self, Encoded};
use super::query::{QueryResult, timestamp};
use crate::attribute;
use crate::error::ReadError;
use crate::metric_points;
use crate::store::TelemetryStore;
use crate::store::metrics::SeriesView;

/// One series with its last data point; an entry of `GET /api/metrics?name=…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricSeries {
    /// `service.name` of the resource.
    pub service: String,
    /// `service.instance.id` of the resource.
    pub instance: Value,
    /// `gauge`, `sum`, `histogram`, `exponential_histogram` or `summary`.
    pub kind: String,
    pub unit: String,
    pub description: String,
    /// `cumulative` or `delta`, where the kind has one.
    pub temporality: Option<String>,
    pub monotonic: bool,
    pub attributes: Map<String, Value>,
    /// RFC 3339.
    pub start: Option<String>,
    /// RFC 3339.
    pub time: Option<String>,
    /// A number, or an object with count, sum and buckets.
    pub value: Value,
    /// Attributes of the resource; not part of the answer over HTTP.
    #[serde(skip)]
    pub resource: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct MetricsQuery {
    name: Option<String>,
}

/// The names of all metrics, or the series of one.
pub(super) async fn read(
    State(store): State<Arc<TelemetryStore>>,
    query: QueryResult<MetricsQuery>,
) -> Result<Encoded, ReadError> {
    let Query(query) = query?;
    answer::build(move || {
        let Some(name) = query.name else {
            let names = store.metrics.names().into_iter();
            let entries = names.map(|(name, series)| json!({ "name": name, "series": series }));
            return answer::list("metrics", entries);
        };
        let series = store.metrics.series(&name).into_iter();
        answer::list_of(("name", &name), "series", series.map(MetricSeries::from))
    })
    .await
}

/// The points of one metric over time.
pub(super) async fn points(
    State(store): State<Arc<TelemetryStore>>,
    query: QueryResult<MetricsQuery>,
) -> Result<Encoded, ReadError> {
    let Query(query) = query?;
    answer::build(move || {
        let name = query.name;
        let name =
            name.ok_or_else(|| ReadError::Invalid("name must be that of a metric".to_owned()))?;
        let points = metric_points::points(&store.metrics, &name);
        answer::value(&points.ok_or(ReadError::UnknownMetric(name))?)
    })
    .await
}

impl From<SeriesView> for MetricSeries {
    fn from(series: SeriesView) -> MetricSeries {
        let resource = attribute::plain_map(series.source.resource().attributes);
        let instrument = &series.instrument;
        MetricSeries {
            service: series.source.service.clone(),
            instance: resource
                .get("service.instance.id")
                .cloned()
                .unwrap_or_default(),
            kind: instrument.kind.to_owned(),
            unit: instrument.unit.clone(),
            description: instrument.description.clone(),
            temporality: instrument.temporality.map(str::to_owned),
            monotonic: instrument.monotonic,
            attributes: series.attributes,
            start: timestamp(series.point.start),
            time: timestamp(series.point.time),
            value: series.point.json(),
            resource,
        }
    }
}
