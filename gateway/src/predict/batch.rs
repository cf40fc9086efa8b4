//! What one request asks for, checked, with each instance once.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::item::ItemIndex;
use crate::error::ApiError;
use crate::model_client::Instance;
use crate::names::is_model_name;

/// Instances that one request may ask for.
const MAX_INSTANCES: usize = 1_000;
const MAX_ID_BYTES: usize = 256;
const MAX_MODEL_BYTES: usize = 128;
/// The ids of texts start with this.
pub(super) const TEXT_PREFIX: &str = "text-";

/// Instances of one model.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) model: Arc<str>,
    /// Each instance once, in the order of its first appearance.
    pub(crate) instances: Vec<Instance>,
    /// For each instance asked for its place in `instances`; `None` when that is the order asked.
    pub(crate) order: Option<Vec<ItemIndex>>,
    pub(crate) input: InputKind,
}

/// How the instances were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputKind {
    DataIds,
    Texts,
    /// One id in a path: of an entity, or of a text if the model takes only texts.
    Path,
    /// The id of a text that the request does not hold, so that nothing can be computed.
    TextId,
}

impl Batch {
    /// Entities by their ids.
    pub(crate) fn of_data_ids(model: String, ids: Vec<String>) -> Result<Self, ApiError> {
        check_count("data_ids", ids.len())?;
        if let Some(at) = ids.iter().position(|id| !is_data_id(id)) {
            return Err(ApiError::Invalid(format!(
                "data_ids[{at}] must have 1 to {MAX_ID_BYTES} bytes and no control characters"
            )));
        }
        let instances = ids.into_iter().map(Instance::from_data_id);
        Self::new(model, instances, InputKind::DataIds)
    }

    /// The one entity or text of a path.
    pub(crate) fn of_path(model: String, id: String) -> Result<Self, ApiError> {
        Ok(Self {
            input: InputKind::Path,
            ..Self::of_data_ids(model, vec![id])?
        })
    }

    /// Texts. The id of each is made from its hash, so that the text itself need not be stored.
    pub(crate) fn of_texts(model: String, texts: Vec<String>) -> Result<Self, ApiError> {
        check_count("texts", texts.len())?;
        if let Some(at) = texts.iter().position(String::is_empty) {
            return Err(ApiError::Invalid(format!("texts[{at}] is empty")));
        }
        let instances = texts.into_iter().map(|text| Instance {
            id: text_id(&text).into(),
            text: Some(text.into()),
        });
        Self::new(model, instances, InputKind::Texts)
    }

    fn new(
        model: String,
        instances: impl Iterator<Item = Instance>,
        input: InputKind,
    ) -> Result<Self, ApiError> {
        if model.is_empty() || model.len() > MAX_MODEL_BYTES || model.chars().any(char::is_control)
        {
            return Err(ApiError::Invalid(format!(
                "model must have 1 to {MAX_MODEL_BYTES} bytes and no control characters"
            )));
        }
        if !is_model_name(&model) {
            return Err(ApiError::UnknownModel { model });
        }
        let (instances, order) = unique(instances.collect());
        Ok(Self {
            model: model.into(),
            instances,
            order,
            input,
        })
    }

    /// Instances asked for, duplicates counted.
    pub(crate) fn len(&self) -> usize {
        self.order.as_ref().map_or(self.instances.len(), Vec::len)
    }
}

pub(crate) fn is_data_id(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len()) && !id.chars().any(char::is_control)
}

pub(crate) fn check_count(field: &str, count: usize) -> Result<(), ApiError> {
    if (1..=MAX_INSTANCES).contains(&count) {
        return Ok(());
    }
    Err(ApiError::Invalid(format!(
        "{field} must have 1 to {MAX_INSTANCES} items and has {count}"
    )))
}

/// `text-` and the first 16 hex digits of the SHA-256 of the text.
fn text_id(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    format!("{TEXT_PREFIX}{}", hex::encode(&digest[..8]))
}

/// Each instance once, and the place of everything asked for unless nothing was asked for twice.
fn unique(instances: Vec<Instance>) -> (Vec<Instance>, Option<Vec<ItemIndex>>) {
    if instances.len() == 1 {
        return (instances, None);
    }
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(instances.len());
    let mut order = Vec::with_capacity(instances.len());
    for instance in &instances {
        let next = places.len();
        order.push(ItemIndex(*places.entry(&instance.id).or_insert(next)));
    }
    if places.len() == instances.len() {
        return (instances, None);
    }
    let mut kept: Vec<Instance> = Vec::with_capacity(places.len());
    for (instance, place) in instances.iter().zip(&order) {
        if place.0 == kept.len() {
            kept.push(instance.clone());
        }
    }
    (kept, Some(order))
}
