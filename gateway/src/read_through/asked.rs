//! What a request asks for, checked and with each thing once.

use std::collections::HashMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::catalogue::Takes;
use crate::error::ApiError;

/// Things that one request may ask for.
pub(crate) const MAX_ITEMS: usize = 1_000;
const MAX_ID_BYTES: usize = 256;
const MAX_MODEL_BYTES: usize = 128;
/// What the ids of texts begin with.
const TEXT_PREFIX: &str = "text-";

/// A request for predictions.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) model: String,
    /// Each id once, in the order of its first appearance.
    pub(crate) ids: Vec<String>,
    /// For each thing asked its place in `ids`; `None` when that is the order asked.
    pub(crate) order: Option<Vec<usize>>,
    pub(crate) items: Items,
}

/// What a model needs to compute the ids of a request.
pub(crate) enum Items {
    /// The ids themselves.
    DataIds,
    /// The texts, one for each id.
    Texts(Vec<String>),
    /// Ids of texts that the request does not hold.
    TextIds,
    /// One id in a path: of an entity, or of a text if the model takes texts only.
    Either,
}

impl Asked {
    /// Entities.
    pub(crate) fn data_ids(model: String, ids: Vec<String>) -> Result<Self, ApiError> {
        check_count("data_ids", ids.len())?;
        let bad = |id: &String| {
            id.is_empty() || id.len() > MAX_ID_BYTES || id.chars().any(char::is_control)
        };
        if let Some(at) = ids.iter().position(bad) {
            let text = format!(
                "data_ids[{at}] must have 1 to {MAX_ID_BYTES} bytes and no control characters"
            );
            return Err(ApiError::Invalid(text));
        }
        let (ids, order) = unique(ids);
        Self::new(model, ids, order, Items::DataIds)
    }

    /// One entity or text, by its id.
    pub(crate) fn one(model: String, id: String) -> Result<Self, ApiError> {
        Ok(Self {
            items: Items::Either,
            ..Self::data_ids(model, vec![id])?
        })
    }

    /// Texts; the id of each is made from its hash, so that the text itself need not be kept.
    pub(crate) fn texts(model: String, texts: Vec<String>) -> Result<Self, ApiError> {
        check_count("texts", texts.len())?;
        if let Some(at) = texts.iter().position(String::is_empty) {
            return Err(ApiError::Invalid(format!("texts[{at}] is empty")));
        }
        let (ids, order) = unique(texts.iter().map(|text| text_id(text)).collect());
        let texts = match &order {
            None => texts,
            Some(order) => {
                let mut kept = vec![String::new(); ids.len()];
                order
                    .iter()
                    .zip(texts)
                    .for_each(|(at, text)| kept[*at] = text);
                kept
            }
        };
        Self::new(model, ids, order, Items::Texts(texts))
    }

    fn new(
        model: String,
        ids: Vec<String>,
        order: Option<Vec<usize>>,
        items: Items,
    ) -> Result<Self, ApiError> {
        if model.is_empty() || model.len() > MAX_MODEL_BYTES || model.chars().any(char::is_control)
        {
            return Err(ApiError::Invalid(format!(
                "model must have 1 to {MAX_MODEL_BYTES} bytes and no control characters"
            )));
        }
        Ok(Self {
            model,
            ids,
            order,
            items,
        })
    }

    /// Things asked for, duplicates counted.
    pub(crate) fn len(&self) -> usize {
        self.order.as_ref().map_or(self.ids.len(), Vec::len)
    }

    /// Decides what the ids are now that the model is known; an error if it does not take what is asked.
    pub(super) fn settle(&mut self, takes: Takes) -> Result<(), ApiError> {
        let (fits, asked, other) = match self.items {
            Items::Either
                if !takes.data_ids && self.ids.iter().all(|id| id.starts_with(TEXT_PREFIX)) =>
            {
                self.items = Items::TextIds;
                return Ok(());
            }
            Items::DataIds | Items::Either => (takes.data_ids, "data_ids", "texts"),
            Items::Texts(_) => (takes.texts, "texts", "data_ids"),
            Items::TextIds => return Ok(()),
        };
        if fits {
            return Ok(());
        }
        let hint = if takes.data_ids || takes.texts {
            format!("ask with `{other}`")
        } else {
            format!("ask at /v2/models/{}/infer", self.model)
        };
        Err(ApiError::Invalid(format!(
            "model `{}` does not take `{asked}`; {hint}",
            self.model
        )))
    }
}

/// A request is told in logs by its size: texts must not appear there.
impl std::fmt::Debug for Items {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::DataIds => "DataIds",
            Self::Texts(_) => "Texts",
            Self::TextIds => "TextIds",
            Self::Either => "Either",
        })
    }
}

fn check_count(field: &str, count: usize) -> Result<(), ApiError> {
    if (1..=MAX_ITEMS).contains(&count) {
        return Ok(());
    }
    Err(ApiError::Invalid(format!(
        "{field} must have 1 to {MAX_ITEMS} items and has {count}"
    )))
}

/// `text-` and the first 16 hex digits of the SHA-256 of the text.
fn text_id(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut id = String::with_capacity(TEXT_PREFIX.len() + 16);
    id.push_str(TEXT_PREFIX);
    for byte in &digest[..8] {
        let _ = write!(id, "{byte:02x}");
    }
    id
}

/// Each id once, and the place of everything asked for, unless nothing was asked twice.
fn unique(ids: Vec<String>) -> (Vec<String>, Option<Vec<usize>>) {
    if ids.len() == 1 {
        return (ids, None);
    }
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(ids.len());
    let mut order = Vec::with_capacity(ids.len());
    for id in &ids {
        let next = places.len();
        order.push(*places.entry(id).or_insert(next));
    }
    if places.len() == ids.len() {
        return (ids, None);
    }
    let mut kept = Vec::with_capacity(places.len());
    for (id, place) in ids.iter().zip(&order) {
        if *place == kept.len() {
            kept.push(id.clone());
        }
    }
    (kept, Some(order))
}
