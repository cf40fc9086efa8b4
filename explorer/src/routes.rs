//! The page's port as a whole: the read API and the pages, behind the token if there is one.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use runtime::{BodyRules, ProcessOptions};

use crate::error::{ReadError, refuse_read};
use crate::state::ApiState;
use crate::token::Token;
use crate::{api, pages};

/// A form of a page has a text of some length, and nothing else has a body.
const SMALL_BODIES: BodyRules = BodyRules {
    max_bytes: 64 * 1024,
    decode: true,
};
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"throughline explorer\"");

/// All routes but the health probes.
pub(crate) fn router(state: ApiState, options: &ProcessOptions) -> Router {
    let token = state.outside.token.clone();
    let router = Router::new()
        .merge(api::routes())
        .merge(pages::routes())
        .fallback(|| async { ReadError::NoRoute });
    let router = match token {
        Some(token) => router.layer(middleware::from_fn_with_state(token, authenticate)),
        None => router,
    };
    router
        .layer(runtime::limit_layer(options, SMALL_BODIES, refuse_read))
        .layer(middleware::map_response(pages::harden))
        .with_state(state)
}

/// Lets through who has the token, the form that asks for it, and the files that every page has.
async fn authenticate(State(token): State<Token>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == pages::SIGN_IN || path.starts_with("/assets/") || token.admits(request.headers()) {
        return next.run(request).await;
    }
    let mut response = if *request.method() == Method::GET && !path.starts_with("/api/") {
        let wanted = request.uri().path_and_query();
        pages::sign_in_page(wanted.map_or("/", |wanted| wanted.as_str()), None)
    } else {
        ReadError::TokenRequired.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(WWW_AUTHENTICATE, CHALLENGE);
    response
}
