//! `POST /push` and `POST /write-to-online-store`: tables of rows, acknowledged when they are
//! durable.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use protocol::feast::{Columns, PushRequest, PushTarget, WriteRequest};
use serde_json::Value;

use crate::backend::{EntityKey, Row};
use crate::body::{Body, parse};
use crate::error::RequestError;
use crate::future::FutureBound;
use crate::plan::{count_rows, keys};
use crate::store::Store;
use crate::time::EventTime;
use crate::value::FeatureValue;
use crate::views::{Feature, FeatureView};

/// Writes into every view that the push source feeds.
pub(crate) async fn push(
    State(store): State<Arc<Store>>,
    Body(body): Body,
) -> Result<Response, RequestError> {
    let request: PushRequest = parse(&body)?;
    let views = store.views();
    let fed = views.fed_by(&request.push_source_name);
    if fed.is_empty() {
        return Err(RequestError::UnknownPushSource(request.push_source_name));
    }
    if request.to != PushTarget::Online {
        // Accepting it would promise an offline store, which does not exist.
        let message = "there is no offline store here; only \"online\" can be pushed to";
        return Err(RequestError::invalid("value_error", &["to"], message));
    }
    // All views are checked before the first is written.
    let tables = fed
        .iter()
        .map(|view| rows(view, &request.df, store.future()))
        .collect::<Result<Vec<_>, _>>()?;
    for (view, rows) in fed.into_iter().zip(tables) {
        store
            .write(view, rows)
            .await
            .map_err(RequestError::Backend)?;
    }
    Ok(StatusCode::OK.into_response())
}

/// Writes into one view. Feast's remote `online_write_batch` sends this.
pub(crate) async fn write_to_online_store(
    State(store): State<Arc<Store>>,
    Body(body): Body,
) -> Result<Response, RequestError> {
    let request: WriteRequest = parse(&body)?;
    let view = view(&store, request.feature_view_name).await?;
    let rows = rows(&view, &request.df, store.future())?;
    store
        .write(&view, rows)
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

/// The view of that name, which may have been declared a moment ago.
async fn view(store: &Arc<Store>, name: String) -> Result<Arc<FeatureView>, RequestError> {
    if let Some(view) = store.views().view(&name) {
        return Ok(Arc::clone(view));
    }
    let views = store.refresh_views().await;
    let view = views.view(&name).map(Arc::clone);
    view.ok_or(RequestError::UnknownView(name))
}

/// Reads the columns of one view and ignores others, since a push source may feed several views.
fn rows(
    view: &FeatureView,
    df: &Columns,
    future: FutureBound,
) -> Result<Vec<(EntityKey, Row)>, RequestError> {
    let count = count_rows("df", df)?;
    let keys = keys(view, "df", df, count)?;
    let times = column(df, "event_timestamp")?;
    check_created(df)?;
    let features = view
        .features
        .iter()
        .map(|feature| Ok((feature, column(df, &feature.name)?)));
    let features = features.collect::<Result<Vec<_>, RequestError>>()?;
    keys.into_iter()
        .enumerate()
        .map(|(at, key)| {
            let event_time = time("event_timestamp", at, &times[at])?;
            future.check(event_time).map_err(|reason| {
                let path = ["df", "event_timestamp", &at.to_string()];
                RequestError::invalid("value_error", &path, reason)
            })?;
            let values = values(&features, at)?;
            Ok((key, Row { event_time, values }))
        })
        .collect()
}

fn values(
    features: &[(&Feature, &[Value])],
    at: usize,
) -> Result<Arc<[Option<FeatureValue>]>, RequestError> {
    features
        .iter()
        .map(|(feature, values)| {
            feature.dtype.from_json(&values[at]).map_err(|error| {
                let path = ["df", &feature.name, &at.to_string()];
                RequestError::invalid("type_error", &path, error.to_string())
            })
        })
        .collect()
}

/// Feast sends the time of creation. It is not used, but an invalid one points to a mistake of the
/// client.
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
    value.as_str().and_then(EventTime::parse).ok_or_else(|| {
        let path = ["df", column, &at.to_string()];
        RequestError::invalid("datetime_parsing", &path, "not an ISO 8601 time")
    })
}
