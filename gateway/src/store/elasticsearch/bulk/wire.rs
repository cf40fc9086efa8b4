//! A bulk on the wire: two lines for each write, one for each deletion, and what the answer says of each.

use std::io::Write as _;
use std::ops::Range;

use bytes::Bytes;
use elasticsearch::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::super::document::{self, Written};
use super::super::failure::{Cause, Failure};
use crate::store::{StoreError, StoredPrediction};

/// What of an answer to a bulk is read, so that nothing else is sent.
pub(in super::super) const ANSWER: &str =
    "filter_path=items.*.status,items.*.error.type,items.*.error.reason";

/// What became of one item of a bulk.
#[derive(Debug)]
pub(in super::super) enum Outcome {
    Done,
    /// A newer version is there, or what was to be deleted is gone already.
    Needless,
    Failed(Failure),
}

/// Reads the answer to a bulk of so many items.
pub(in super::super) fn items(count: usize, body: &[u8]) -> Result<Vec<Outcome>, StoreError> {
    #[derive(Deserialize)]
    struct Answered {
        items: Vec<Item>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Item {
        Index(Settled),
        Delete(Settled),
    }
    #[derive(Deserialize)]
    struct Settled {
        status: u16,
        #[serde(default)]
        error: Option<Cause>,
    }
    let Answered { items } = serde_json::from_slice(body).map_err(Failure::Unreadable)?;
    if items.len() != count {
        return Err(StoreError::Unreadable {
            what: "the answer to a bulk",
        });
    }
    let outcome = |item| match item {
        Item::Delete(Settled {
            status: 404,
            error: None,
        }) => Outcome::Needless,
        Item::Index(Settled { status, error }) | Item::Delete(Settled { status, error }) => {
            match (status, error) {
                (200..=299, None) => Outcome::Done,
                (409, Some(cause)) if cause.kind == "version_conflict_engine_exception" => {
                    Outcome::Needless
                }
                // Whatever is not plainly well is not: nothing shall be told to be stored that is not.
                (status, cause) => {
                    let status =
                        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    Outcome::Failed(Failure::item(status, cause.unwrap_or_default()))
                }
            }
        }
    };
    Ok(items.into_iter().map(outcome).collect())
}

/// The lines of a bulk, two for each prediction.
#[derive(Debug)]
pub(super) struct Lines {
    text: Bytes,
    pub(super) items: Vec<Range<usize>>,
}

impl Lines {
    pub(super) fn of<'a>(predictions: impl Iterator<Item = &'a StoredPrediction>) -> Self {
        let (mut text, mut items) = (Vec::new(), Vec::new());
        for prediction in predictions {
            let start = text.len();
            let key = &prediction.key;
            let index = Action {
                _id: document::id(&key.model, &key.variant, &key.version, &key.data_id),
                version: document::version(prediction.computed_at),
                version_type: "external_gte",
            };
            line(&mut text, &Indexing { index });
            line(&mut text, &Written::from(prediction));
            items.push(start..text.len());
        }
        Self {
            text: text.into(),
            items,
        }
    }

    /// The lines of these items.
    pub(super) fn select(&self, items: &[usize]) -> Bytes {
        if items.len() == self.items.len() {
            return self.text.clone();
        }
        items
            .iter()
            .flat_map(|item| &self.text[self.items[*item].clone()])
            .copied()
            .collect()
    }
}

#[derive(Serialize)]
struct Indexing {
    index: Action,
}

/// With `external_gte` a write is refused if the stored version is higher, and may be repeated.
#[derive(Serialize)]
struct Action {
    _id: String,
    version: i64,
    version_type: &'static str,
}

/// The line of a bulk that deletes a document, unless it was written anew in the meantime.
pub(in super::super) fn delete(text: &mut Vec<u8>, index: &str, id: &str, version: i64) {
    #[derive(Serialize)]
    struct Delete<'a> {
        delete: Target<'a>,
    }
    #[derive(Serialize)]
    struct Target<'a> {
        _index: &'a str,
        _id: &'a str,
        version: i64,
        version_type: &'static str,
    }
    line(
        text,
        &Delete {
            delete: Target {
                _index: index,
                _id: id,
                version,
                version_type: "external_gte",
            },
        },
    );
}

/// Neither a `Vec` nor our own structs can fail to be written.
fn line(text: &mut Vec<u8>, value: &impl Serialize) {
    let _ = serde_json::to_writer(&mut *text, value);
    let _ = text.write_all(b"\n");
}
