//! `POST /get-online-features`.

use std::borrow::Cow;
use std::iter::repeat_n;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use protocol::feast::{
    Cell, Columns, EPOCH, FeatureColumn, List, OnlineResponse, ResponseMetadata, Status,
    ViewMetadata,
};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::Value;
use telemetry::{attr, current};

use crate::backend::Row;
use crate::body::{Body, parse};
use crate::error::RequestError;
use crate::metrics::StatusCounts;
use crate::plan::{Column, Plan, Request};
use crate::store::Store;
use crate::time::{EventTime, micros};
use crate::value::FeatureValue;
use crate::views::FeatureView;

/// Answers one value per entity and feature, with its status and event time.
pub(crate) async fn get_online_features(
    State(store): State<Arc<Store>>,
    Body(body): Body,
) -> Result<Response, RequestError> {
    let request: Request<'_> = parse(&body)?;
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
    count(&plan, &views);
    let results = Results {
        entities: &request.entities,
        plan: &plan,
        views: &views,
    };
    Ok(write(
        &results,
        request.include_feature_view_version_metadata,
    ))
}

/// The plan of a request. A view that is not known may have been declared a moment ago.
async fn plan(store: &Arc<Store>, request: &Request<'_>) -> Result<Plan, RequestError> {
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

    fn value(&self, feature: usize) -> Result<&FeatureValue, Status> {
        match self {
            Self::NotFound => Err(Status::NotFound),
            Self::OutsideMaxAge => Err(Status::OutsideMaxAge),
            Self::Row(row) => match &row.values[feature] {
                None => Err(Status::NullValue),
                Some(FeatureValue::Unreadable) => Err(Status::Invalid),
                Some(value) => Ok(value),
            },
        }
    }

    fn status(&self, feature: usize) -> Status {
        self.value(feature).err().unwrap_or(Status::Present)
    }
}

fn count(plan: &Plan, views: &[ViewRows]) {
    let mut counts = vec![StatusCounts::default(); plan.lookups.len()];
    for column in &plan.columns {
        for row in &views[column.lookup].rows {
            counts[column.lookup].count(row.status(column.feature));
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

/// The columns of the answer, written straight from the rows: the join keys as they were given,
/// then the features in the order of the request.
struct Results<'a> {
    entities: &'a Columns,
    plan: &'a Plan,
    views: &'a [ViewRows],
}

impl<'a> Results<'a> {
    fn width(&self) -> usize {
        self.entities.0.len() + self.plan.columns.len()
    }

    fn names(&self) -> impl Iterator<Item = Cow<'a, str>> + Clone {
        let plan = self.plan;
        let join_keys = self.entities.0.iter().map(|(name, _)| Cow::from(name));
        join_keys.chain(plan.columns.iter().map(|column| plan.name(*column)))
    }

    fn feature(&self, column: Column) -> impl Serialize {
        let ViewRows { rows, times } = &self.views[column.lookup];
        let at = column.feature;
        let cell = move |row: &'a RowState| row.value(at).map_or(Cell::Null, FeatureValue::cell);
        FeatureColumn {
            values: List(rows.iter().map(cell)),
            statuses: List(rows.iter().map(move |row| row.status(at))),
            event_timestamps: times,
        }
    }
}

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut columns = serializer.serialize_seq(Some(self.width()))?;
        for (_, values) in &self.entities.0 {
            columns.serialize_element(&join_key(values))?;
        }
        for column in &self.plan.columns {
            columns.serialize_element(&self.feature(*column))?;
        }
        columns.end()
    }
}

fn join_key(values: &[Value]) -> impl Serialize {
    FeatureColumn {
        values,
        statuses: List(repeat_n(Status::Present, values.len())),
        event_timestamps: List(repeat_n(EPOCH, values.len())),
    }
}

fn write(results: &Results<'_>, with_views: bool) -> Response {
    let lookups = results.plan.lookups.iter().filter(|_| with_views);
    let views = lookups.map(|lookup| ViewMetadata {
        name: lookup.view.name.to_string(),
    });
    let metadata = ResponseMetadata {
        feature_names: List(results.names()),
        feature_view_metadata: views.collect(),
    };
    // About the length of the body.
    let rows = results.entities.rows().unwrap_or_default();
    let mut body = Vec::with_capacity(results.width() * (COLUMN_BYTES + rows * CELL_BYTES));
    // Serialising cannot fail: all keys are strings, and every float is finite or a text.
    let _ = serde_json::to_writer(&mut body, &OnlineResponse { results, metadata });
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], body).into_response()
}

/// The name of a column, the names of its lists, and brackets.
const COLUMN_BYTES: usize = 80;

/// A number, a status and a time.
const CELL_BYTES: usize = 48;
