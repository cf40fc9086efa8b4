//! Bodies of requests: JSON, whatever the content type.

use std::borrow::Cow;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use serde::Deserialize;

use crate::error::RequestError;
use crate::json;

/// The body without Python's words. Old Feast clients send no content type and curl sends that of a
/// form, so it is ignored.
pub(crate) struct Body(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = RequestError;

    async fn from_request(request: Request, state: &S) -> Result<Self, RequestError> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(match json::without_python_words(&bytes) {
                Cow::Borrowed(_) => bytes,
                Cow::Owned(text) => text.into(),
            })),
            Err(_) => Err(RequestError::Unreadable),
        }
    }
}

/// Parses a body as JSON.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, RequestError> {
    json::standard_object(body).map_err(|error| {
        let kind = if error.is_data() {
            "value_error"
        } else {
            "json_invalid"
        };
        RequestError::invalid(kind, &[], error.to_string())
    })
}
