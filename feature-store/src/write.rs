//! `POST /push` and `POST /write-to-online-store`: tables of rows, acknowledged when they are durable.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use protocol::feast::{Columns, PushRequest, PushTarget, WriteRequest};
use serde_json::Value;

use crate::backend::{EntityKey, Row};
use crate::error::RequestError;
use crate::plan::{count_rows, keys};
use crate::router::{Body, parse};
use crate::store::Store;
use crate::time::EventTime;
use crate::value::{FeatureValue, WrongType};
use crate::views::{Feature, FeatureView};

/// Writes into every view that the push source feeds.
pub(crate) async fn push(
    State(store): State<Arc<Store>>,
    Body(body): Body,
) -> Result<Response, RequestError> {
    let request: PushRequest = parse(&body)?;
    let fed = store.views().fed_by(&request.push_source_name);
    if fed.is_empty() {
        return Err(RequestError::UnknownPushSource(request.push_source_name));
    }
    if request.to != PushTarget::Online {
        // To say yes would promise a history that nobody keeps.
        let message = "there is no offline store here; only \"online\" can be pushed to";
        return Err(RequestError::invalid("value_error", &["to"], message));
    }
    // All views are checked before the first is written.
    let tables = fed
        .iter()
        .map(|view| rows(view, &request.df))
        .collect::<Result<Vec<_>, _>>()?;
    for (view, rows) in fed.into_iter().zip(tables) {
        store
            .write(view, rows)
            .await
            .map_err(RequestError::Backend)?;
    }
    Ok(StatusCode::OK.into_response())
}

/// Writes into one view; what Feast's remote `online_write_batch` sends.
pub(crate) async fn write_to_online_store(
    State(store): State<Arc<Store>>,
    Body(body): Body,
) -> Result<Response, RequestError> {
    let request: WriteRequest = parse(&body)?;
    let unknown = || RequestError::UnknownView(request.feature_view_name.clone());
    let view = store
        .views()
        .view(&request.feature_view_name)
        .ok_or_else(unknown)?;
    let rows = rows(view, &request.df)?;
    store
        .write(view, rows)
        .await
        .map_err(RequestError::Backend)?;
    Ok((
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )],
        "null",
    )
        .into_response())
}

/// Reads the columns of one view; others are left alone, since a push source may feed several views.
fn rows(view: &FeatureView, df: &Columns) -> Result<Vec<(EntityKey, Row)>, RequestError> {
    let count = count_rows("df", df)?;
    let keys = keys(view, "df", df, count)?;
    let times = column(df, "event_timestamp")?;
    check_created(df)?;
    let features = view
        .features
        .iter()
        .map(|feature| Ok((feature, column(df, &feature.name)?)));
    let features = features.collect::<Result<Vec<_>, RequestError>>()?;
    let row = |(at, key): (usize, EntityKey)| {
        let value = |(feature, values): &(&Feature, &[Value])| -> Result<_, RequestError> {
            let wrong = |error: WrongType| {
                RequestError::invalid(
                    "type_error",
                    &["df", &feature.name, &at.to_string()],
                    error.to_string(),
                )
            };
            feature.dtype.from_json(&values[at]).map_err(wrong)
        };
        let values: Arc<[Option<FeatureValue>]> =
            features.iter().map(value).collect::<Result<_, _>>()?;
        Ok((
            key,
            Row {
                event_time: time("event_timestamp", at, &times[at])?,
                values,
            },
        ))
    };
    keys.into_iter().enumerate().map(row).collect()
}

/// Feast sends the time of creation; it decides nothing here, but nonsense in it is a mistake worth telling.
fn check_created(df: &Columns) -> Result<(), RequestError> {
    let created = df.get("created").unwrap_or_default().iter().enumerate();
    for (at, value) in created.filter(|(_, value)| !value.is_null()) {
        time("created", at, value)?;
    }
    Ok(())
}

fn column<'a>(df: &'a Columns, name: &str) -> Result<&'a [Value], RequestError> {
    df.get(name)
        .ok_or_else(|| RequestError::invalid("missing", &["df", name], "the column is missing"))
}

fn time(column: &str, at: usize, value: &Value) -> Result<EventTime, RequestError> {
    let wrong = || {
        RequestError::invalid(
            "datetime_parsing",
            &["df", column, &at.to_string()],
            "not an ISO 8601 time",
        )
    };
    value.as_str().and_then(EventTime::parse).ok_or_else(wrong)
}
