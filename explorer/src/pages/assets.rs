//! The files of the pages, embedded in the program: `/assets/NAME`.

use axum::Router;
use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::error::ReadError;
use crate::state::ApiState;

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, content type and text of each file.
const ASSETS: [(&str, &str, &str); 10] = [
    ("base.css", STYLE, include_str!("../../page/base.css")),
    ("base.js", SCRIPT, include_str!("../../page/base.js")),
    ("compare.css", STYLE, include_str!("../../page/compare.css")),
    ("list.css", STYLE, include_str!("../../page/list.css")),
    ("list.js", SCRIPT, include_str!("../../page/list.js")),
    (
        "overview.css",
        STYLE,
        include_str!("../../page/overview.css"),
    ),
    ("trace.css", STYLE, include_str!("../../page/trace.css")),
    ("trace.js", SCRIPT, include_str!("../../page/trace.js")),
    ("try.css", STYLE, include_str!("../../page/try.css")),
    ("try.js", SCRIPT, include_str!("../../page/try.js")),
];

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/assets/{name}", get(asset))
}

async fn asset(Path(name): Path<String>) -> Response {
    let found = ASSETS.iter().find(|(known, _, _)| *known == name);
    found.map_or_else(
        || ReadError::NoRoute.into_response(),
        |(_, content_type, text)| ([(CONTENT_TYPE, *content_type)], *text).into_response(),
    )
}
