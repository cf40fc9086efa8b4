//! `POST /get-online-features`.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use protocol::feast::{
    Columns, EPOCH, FeatureColumn, OnlineRequest, OnlineResponse, ResponseMetadata, Status,
    ViewMetadata,
};
use serde_json::Value;
use telemetry::{attr, current};

use crate::backend::Row;
use crate::body::{Body, parse};
use crate::error::RequestError;
use crate::metrics::StatusCounts;
use crate::plan::{Column, Plan, ViewLookup};
use crate::store::Store;
use crate::time::{EventTime, micros};
use crate::value::FeatureValue;
use crate::views::FeatureView;

/// Answers one value per entity and feature, with its status and event time.
pub(crate) async fn get_online_features(
    State(store): State<Arc<Store>>,
    Body(body): Body,
) -> Result<Response, RequestError> {
    let request: OnlineRequest = parse(&body)?;
    let plan = plan(&store, &request).await?;
    let mut views = Vec::with_capacity(plan.lookups.len());
    let (mut asked, mut hits) = (0, 0);
    for lookup in &plan.lookups {
        let found = store
            .read(&lookup.view, &lookup.keys)
            .await
            .map_err(RequestError::Backend)?;
        asked += lookup.keys.len();
        hits += found.hits;
        views.push(ViewRows::new(&lookup.view, found.rows, store.now()));
    }
    // A cache hit has no span of the backend; this attribute shows where the features came from.
    current().set(attr::CACHE_RESULT, cache_result(asked, hits));
    let response = assemble(request.entities, &plan.columns, &views);
    count(&plan, &response);
    Ok(write(&finish(
        response,
        request.include_feature_view_version_metadata,
        &plan.lookups,
    )))
}

/// The plan of a request. A view that is not known may have been declared a moment ago.
async fn plan(store: &Arc<Store>, request: &OnlineRequest) -> Result<Plan, RequestError> {
    match Plan::new(&store.views(), request) {
        Err(RequestError::UnknownView(_) | RequestError::UnknownFeature { .. }) => {
            Plan::new(&*store.refresh_views().await, request)
        }
        plan => plan,
    }
}

/// The rows of one view for the answer: the state and the event time of each.
struct ViewRows {
    rows: Vec<RowState>,
    times: Vec<Cow<'static, str>>,
}

enum RowState {
    NotFound,
    OutsideMaxAge,
    Row(Row),
}

impl ViewRows {
    fn new(view: &FeatureView, rows: Vec<Option<Row>>, now: EventTime) -> Self {
        let oldest = view.ttl.map(|ttl| now.micros().saturating_sub(micros(ttl)));
        let times = rows
            .iter()
            .map(|row| match row {
                None => Cow::Borrowed(EPOCH),
                Some(row) => Cow::Owned(row.event_time.to_rfc3339()),
            })
            .collect();
        let rows = rows
            .into_iter()
            .map(|row| RowState::new(row, oldest))
            .collect();
        Self { rows, times }
    }

    fn column(&self, feature: usize) -> FeatureColumn {
        let (values, statuses) = self.rows.iter().map(|row| row.value(feature)).unzip();
        FeatureColumn {
            values,
            statuses,
            event_timestamps: self.times.clone(),
        }
    }
}

impl RowState {
    /// `oldest` is the event time in microseconds before which a row has expired.
    fn new(row: Option<Row>, oldest: Option<i64>) -> Self {
        match row {
            None => Self::NotFound,
            // Its age is not known either.
            Some(row) if row.is_unreadable() => Self::Row(row),
            Some(row) if oldest.is_some_and(|oldest| row.event_time.micros() < oldest) => {
                Self::OutsideMaxAge
            }
            Some(row) => Self::Row(row),
        }
    }

    fn value(&self, feature: usize) -> (Value, Status) {
        match self {
            Self::NotFound => (Value::Null, Status::NotFound),
            Self::OutsideMaxAge => (Value::Null, Status::OutsideMaxAge),
            Self::Row(row) => match &row.values[feature] {
                None => (Value::Null, Status::NullValue),
                Some(FeatureValue::Unreadable) => (Value::Null, Status::Invalid),
                Some(value) => (value.to_json(), Status::Present),
            },
        }
    }
}

/// The join keys as they were given, then the features in the order of the request.
fn assemble(entities: Columns, columns: &[Column], views: &[ViewRows]) -> OnlineResponse {
    let width = entities.0.len() + columns.len();
    let mut results = Vec::with_capacity(width);
    let mut feature_names = Vec::with_capacity(width);
    for (name, values) in entities.0 {
        let rows = values.len();
        let (statuses, event_timestamps) = (
            vec![Status::Present; rows],
            vec![Cow::Borrowed(EPOCH); rows],
        );
        results.push(FeatureColumn {
            values,
            statuses,
            event_timestamps,
        });
        feature_names.push(name);
    }
    for column in columns {
        results.push(views[column.lookup].column(column.feature));
        feature_names.push(column.name.clone());
    }
    OnlineResponse {
        results,
        metadata: ResponseMetadata {
            feature_names,
            feature_view_metadata: Vec::new(),
        },
    }
}

fn finish(
    mut response: OnlineResponse,
    with_views: bool,
    lookups: &[ViewLookup],
) -> OnlineResponse {
    if with_views {
        let views = lookups.iter().map(|lookup| ViewMetadata {
            name: lookup.view.name.to_string(),
        });
        response.metadata.feature_view_metadata = views.collect();
    }
    response
}

fn count(plan: &Plan, response: &OnlineResponse) {
    let mut counts = vec![StatusCounts::default(); plan.lookups.len()];
    let features = response.results.len() - plan.columns.len();
    for (column, result) in plan.columns.iter().zip(&response.results[features..]) {
        for status in &result.statuses {
            counts[column.lookup].count(*status);
        }
    }
    for (counts, lookup) in counts.into_iter().zip(&plan.lookups) {
        counts.record(&lookup.view.name);
    }
}

fn cache_result(asked: usize, hits: usize) -> &'static str {
    match hits {
        hits if hits == asked => "hit",
        0 => "miss",
        _ => "partial",
    }
}

fn write(response: &OnlineResponse) -> Response {
    // Serialising cannot fail: all keys are strings, and every float is finite or a text.
    let body = serde_json::to_vec(response).unwrap_or_default();
    (
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )],
        body,
    )
        .into_response()
}
