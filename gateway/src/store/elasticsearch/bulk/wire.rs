//! The body of a bulk and the answer to it: two lines for each write, one for each deletion, one
//! status for each.

use std::io::Write as _;
use std::ops::Range;

use bytes::Bytes;
use elasticsearch::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::super::document::{self, Document};
use super::super::error::{CallError, ErrorCause};
use super::super::query::ExpiredDocument;
use crate::store::{StoreError, StoredPrediction};

/// Limits the answer to a bulk to what is read of it.
pub(in super::super) const ANSWER: &str =
    "filter_path=items.*.status,items.*.error.type,items.*.error.reason";

/// The result of one item of a bulk.
#[derive(Debug)]
pub(in super::super) enum ItemOutcome {
    Done,
    /// A newer version is stored, or the document to delete does not exist.
    Needless,
    Failed(CallError),
}

/// Parses the answer to a bulk of `count` items.
pub(in super::super) fn items(count: usize, body: &[u8]) -> Result<Vec<ItemOutcome>, StoreError> {
    #[derive(Deserialize)]
    struct BulkAnswer {
        items: Vec<Item>,
    }
    let BulkAnswer { items } = serde_json::from_slice(body).map_err(CallError::Unreadable)?;
    if items.len() != count {
        return Err(StoreError::Unreadable {
            what: "the answer to a bulk",
        });
    }
    Ok(items.into_iter().map(ItemOutcome::from).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Item {
    Index(ItemStatus),
    Delete(ItemStatus),
}

#[derive(Deserialize)]
struct ItemStatus {
    status: u16,
    #[serde(default)]
    error: Option<ErrorCause>,
}

impl From<Item> for ItemOutcome {
    fn from(item: Item) -> Self {
        let is_delete = matches!(item, Item::Delete(_));
        let (Item::Index(item) | Item::Delete(item)) = item;
        match (item.status, item.error) {
            (200..=299, None) => Self::Done,
            (404, None) if is_delete => Self::Needless,
            (409, Some(cause)) if cause.kind == "version_conflict_engine_exception" => {
                Self::Needless
            }
            // Everything else counts as a failure, so that nothing is reported as stored that may
            // not be.
            (status, cause) => {
                let status =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Self::Failed(CallError::item(status, cause.unwrap_or_default()))
            }
        }
    }
}

/// The body of a bulk that writes predictions.
#[derive(Debug)]
pub(super) struct BulkBody {
    text: Bytes,
    /// The lines of each prediction in the text.
    items: Vec<Range<usize>>,
}

impl BulkBody {
    pub(super) fn new<'a>(predictions: impl Iterator<Item = &'a StoredPrediction>) -> Self {
        let (mut text, mut items) = (Vec::new(), Vec::new());
        for prediction in predictions {
            let start = text.len();
            let key = &prediction.key;
            let id = document::id(&key.model, &key.variant, &key.version, &key.data_id);
            let version = document::version(prediction.computed_at);
            line(&mut text, &Action::Index(Target::new(None, &id, version)));
            line(&mut text, &Document::from(prediction));
            items.push(start..text.len());
        }
        Self {
            text: text.into(),
            items,
        }
    }

    /// Number of predictions.
    pub(super) fn len(&self) -> usize {
        self.items.len()
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

/// The body of a bulk that deletes documents, except those that were written anew in the meantime.
pub(in super::super) fn deletions(expired: &[ExpiredDocument]) -> Bytes {
    let mut text = Vec::new();
    for document in expired {
        let target = Target::new(Some(&document.index), &document.id, document.version);
        line(&mut text, &Action::Delete(target));
    }
    text.into()
}

/// The body of a bulk that replaces documents, except those that were written anew since they were
/// read.
pub(super) fn replacements(predictions: &[(&StoredPrediction, Seen)]) -> Bytes {
    #[derive(Serialize)]
    struct Replace<'a> {
        index: Condition<'a>,
    }
    #[derive(Serialize)]
    struct Condition<'a> {
        _id: &'a str,
        if_seq_no: i64,
        if_primary_term: i64,
    }
    let mut text = Vec::new();
    for (prediction, seen) in predictions {
        let key = &prediction.key;
        let condition = Condition {
            _id: &document::id(&key.model, &key.variant, &key.version, &key.data_id),
            if_seq_no: seen.seq_no,
            if_primary_term: seen.primary_term,
        };
        line(&mut text, &Replace { index: condition });
        line(&mut text, &Document::from(*prediction));
    }
    text.into()
}

/// The change of a document that a read has seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) seq_no: i64,
    pub(super) primary_term: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Action<'a> {
    Index(Target<'a>),
    Delete(Target<'a>),
}

#[derive(Serialize)]
struct Target<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    _index: Option<&'a str>,
    _id: &'a str,
    version: i64,
    version_type: &'static str,
}

impl<'a> Target<'a> {
    fn new(index: Option<&'a str>, id: &'a str, version: i64) -> Self {
        Self {
            _index: index,
            _id: id,
            version,
            // Refused if the stored version is higher; of an equal one the same write may be
            // repeated.
            version_type: "external_gte",
        }
    }
}

/// Neither writing to a `Vec` nor serializing these structs can fail.
fn line(text: &mut Vec<u8>, value: &impl Serialize) {
    let _ = serde_json::to_writer(&mut *text, value);
    let _ = text.write_all(b"\n");
}
