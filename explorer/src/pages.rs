//! The pages for people. The server renders them, and they read without a script; scripts add what
//! a server cannot do: live lists, keys, dragging, the reader's time zone.
//!
//! A page has a file here with its route and its markup; what it shows is computed by the modules
//! beside `pages`.

mod assets;
mod chart;
mod compare;
mod format;
mod headers;
mod hue;
mod list;
mod logs;
mod map;
mod metrics;
mod models;
mod rules;
mod shell;
mod sign_in;
mod trace;
mod try_it;
mod window;

use axum::Router;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::{IntoResponse, Response};

pub(crate) use headers::harden;
pub(crate) use sign_in::{SIGN_IN, sign_in_page};

use crate::blocking;
use crate::error::ReadError;
use crate::state::ApiState;
use shell::Page;

/// The extractor of every page's query; a handler turns the rejection into a page that says so.
type PageQuery<T> = Result<Query<T>, QueryRejection>;

/// Every page, and the files that they load.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .merge(assets::routes())
        .merge(list::routes())
        .merge(trace::routes())
        .merge(map::routes())
        .merge(models::routes())
        .merge(metrics::routes())
        .merge(logs::routes())
        .merge(compare::routes())
        .merge(rules::routes())
        .merge(try_it::routes())
        .merge(sign_in::routes())
}

/// Builds a page outside the async workers.
async fn build(work: impl FnOnce() -> Result<Page, ReadError> + Send + 'static) -> Response {
    match blocking::read(work).await {
        Ok(page) => page.into_response(),
        Err(error) => shell::failure(&error),
    }
}
