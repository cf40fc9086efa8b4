//! The layer that asks for a key, inside the telemetry layer and outside the limits: a request
//! without a key takes no place and its body is not read.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, Uri, header};
use telemetry::attr;

use super::{ApiKeys, NoKey};
use crate::error::ApiError;

/// The scheme of RFC 6750 §2.1; schemes are compared without case (RFC 9110 §11.1).
const SCHEME: &str = "bearer ";
/// No key of ours is as long, and a longer one is not worth hashing.
const MAX_KEY: usize = 256;

/// The keys, and what writes a refusal.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) keys: ApiKeys,
    /// The path decides the form of the answer.
    pub(crate) refuse: fn(&Uri, ApiError) -> Response,
}

/// Passes requests with a known key on, as long as the key's limits allow it.
pub(crate) async fn authenticate(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Response {
    let uri = request.uri().clone();
    let admitted = presented(request.headers())
        .and_then(|key| gate.keys.find(key).ok_or(NoKey::Unknown))
        .map_err(ApiError::NoKey)
        .and_then(|key| {
            telemetry::current().set(attr::THROUGHLINE_API_KEY_NAME, key.entry.name.clone());
            key.limits.admit().map_err(ApiError::OverLimit)
        });
    // Nothing behind this point needs the key, so nothing can pass it on.
    request.headers_mut().remove(header::AUTHORIZATION);
    match admitted {
        Err(error) => (gate.refuse)(&uri, error),
        Ok(None) => next.run(request).await,
        Ok(Some(permit)) => {
            let response = next.run(request).await;
            response.map(|body| runtime::held(body, permit))
        }
    }
}

fn presented(headers: &HeaderMap) -> Result<&[u8], NoKey> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, more) = (values.next(), values.next());
    if more.is_some() {
        return Err(NoKey::Unknown);
    }
    let value = value.ok_or(NoKey::Missing)?.as_bytes();
    let (scheme, key) = value.split_at_checked(SCHEME.len()).ok_or(NoKey::Missing)?;
    if !scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) {
        return Err(NoKey::Missing);
    }
    let key = key.trim_ascii();
    if key.len() <= MAX_KEY {
        Ok(key)
    } else {
        Err(NoKey::Unknown)
    }
}
