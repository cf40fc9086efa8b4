//! JSON answers of bounded size. Many readers that do not read hold as many answers in memory, so
//! none of them may be as large as the store.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

use crate::blocking;
use crate::error::ReadError;

/// Bytes of one list. What does not fit is left out, and the answer says how many entries that are.
pub(crate) const MAX_LIST_BYTES: usize = 1024 * 1024;

/// An answer that is already encoded. Clones share the bytes.
#[derive(Clone, Debug)]
pub(super) struct Encoded(pub Bytes);

impl IntoResponse for Encoded {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

/// Builds an answer outside the async workers.
pub(super) async fn build(
    work: impl FnOnce() -> Result<Encoded, ReadError> + Send + 'static,
) -> Result<Encoded, ReadError> {
    blocking::read(work).await
}

/// A whole value.
pub(super) fn value(value: &impl Serialize) -> Result<Encoded, ReadError> {
    let encoded = serde_json::to_vec(value).map_err(ReadError::Encode)?;
    Ok(Encoded(encoded.into()))
}

/// `{"<name>": […]}`, with `"left_out": N` if N entries did not fit.
pub(super) fn list<T: Serialize>(
    name: &str,
    entries: impl Iterator<Item = T>,
) -> Result<Encoded, ReadError> {
    list_beside(&[], name, entries)
}

/// The same with a field in front of the list.
pub(super) fn list_of<T: Serialize>(
    (field, text): (&str, &str),
    name: &str,
    entries: impl Iterator<Item = T>,
) -> Result<Encoded, ReadError> {
    let mut first = Vec::new();
    write(&mut first, field)?;
    first.push(b':');
    write(&mut first, text)?;
    first.push(b',');
    list_beside(&first, name, entries)
}

/// The same with encoded fields in front of the list, the last of them with its comma.
pub(super) fn list_beside<T: Serialize>(
    first: &[u8],
    name: &str,
    mut entries: impl Iterator<Item = T>,
) -> Result<Encoded, ReadError> {
    let mut body = [b"{", first].concat();
    write(&mut body, name)?;
    body.extend(b":[");
    let (mut listed, mut left_out) = (0, 0);
    for entry in &mut entries {
        let end = body.len();
        if listed > 0 {
            body.push(b',');
        }
        write(&mut body, &entry)?;
        // One entry is always shown, however large it is.
        if listed > 0 && body.len() > MAX_LIST_BYTES {
            body.truncate(end);
            left_out = 1 + entries.count();
            break;
        }
        listed += 1;
    }
    body.push(b']');
    if left_out > 0 {
        body.extend(format!(",\"left_out\":{left_out}").bytes());
    }
    body.push(b'}');
    Ok(Encoded(body.into()))
}

fn write(body: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) -> Result<(), ReadError> {
    serde_json::to_writer(body, value).map_err(ReadError::Encode)
}
