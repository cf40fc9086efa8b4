//! A prediction as a document: its id, its fields, and the way from and to [`StoredPrediction`].

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use telemetry::SpanRef;

use crate::names::PRIMARY;
use crate::store::{Key, StoreError, StoredPrediction};

/// The most bytes of an id in Elasticsearch.
const MAX_ID_BYTES: usize = 512;

/// `model@variant/version/data_id`, unique to the key: `%`, `/` and `@` are escaped in all parts but the last.
///
/// The variant `primary` is left out together with its `@`, so that predictions of the releases before variants are still
/// found. An id that would be too long is replaced by its hash, which has no slash and so cannot be the id of another key.
pub(super) fn id(model: &str, variant: &str, version: &str, data_id: &str) -> String {
    let mut id =
        String::with_capacity(model.len() + variant.len() + version.len() + data_id.len() + 3);
    escape(model, &mut id);
    if variant != PRIMARY {
        id.push('@');
        escape(variant, &mut id);
    }
    id.push('/');
    escape(version, &mut id);
    id.push('/');
    id.push_str(data_id);
    if id.len() <= MAX_ID_BYTES {
        return id;
    }
    format!("sha256-{}", hex::encode(Sha256::digest(&id)))
}

fn escape(part: &str, id: &mut String) {
    for letter in part.chars() {
        match letter {
            '%' => id.push_str("%25"),
            '/' => id.push_str("%2F"),
            '@' => id.push_str("%40"),
            letter => id.push(letter),
        }
    }
}

/// The document version, microseconds since 1970: with it Elasticsearch refuses an older computation after a newer one.
pub(super) fn version(computed_at: Timestamp) -> i64 {
    computed_at.as_microsecond().max(0)
}

/// A document to write.
#[derive(Serialize)]
pub(super) struct NewDocument<'a> {
    model: &'a str,
    model_version: &'a str,
    data_id: &'a str,
    variant: &'a str,
    label: &'a str,
    confidence: f32,
    probabilities: &'a [f32],
    computed_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a str>,
}

impl<'a> From<&'a StoredPrediction> for NewDocument<'a> {
    fn from(prediction: &'a StoredPrediction) -> Self {
        let by = prediction.computed_by.as_ref();
        Self {
            model: &prediction.key.model,
            model_version: &prediction.key.version,
            data_id: &prediction.key.data_id,
            variant: &prediction.key.variant,
            label: &prediction.label,
            confidence: prediction.confidence,
            probabilities: &prediction.probabilities,
            computed_at: prediction.computed_at.to_string(),
            trace_id: by.map(|by| by.trace_id.as_str()),
            span_id: by.map(|by| by.span_id.as_str()),
            run_id: prediction.run_id.as_deref(),
        }
    }
}

/// The fields of a stored document without its key, which a lookup knows already.
#[derive(Debug, Deserialize)]
pub(super) struct DocumentFields<'a> {
    label: String,
    confidence: f32,
    probabilities: Vec<f32>,
    #[serde(borrow)]
    computed_at: Cow<'a, str>,
    #[serde(borrow, default)]
    trace_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    span_id: Option<Cow<'a, str>>,
    #[serde(default)]
    run_id: Option<String>,
}

/// A stored document with its key, for a search.
#[derive(Debug, Deserialize)]
pub(super) struct StoredDocument<'a> {
    model: String,
    variant: String,
    model_version: String,
    data_id: String,
    #[serde(borrow, flatten)]
    fields: DocumentFields<'a>,
}

impl DocumentFields<'_> {
    pub(super) fn with_key(self, key: Key) -> Result<StoredPrediction, StoreError> {
        Ok(StoredPrediction {
            key,
            label: self.label,
            confidence: self.confidence,
            probabilities: self.probabilities,
            computed_at: self
                .computed_at
                .parse()
                .map_err(|_| StoreError::Unreadable {
                    what: "computed_at",
                })?,
            computed_by: self
                .trace_id
                .zip(self.span_id)
                .and_then(|(trace, span)| SpanRef::parse(&trace, &span)),
            run_id: self.run_id,
        })
    }
}

impl StoredDocument<'_> {
    pub(super) fn into_prediction(self) -> Result<StoredPrediction, StoreError> {
        let key = Key {
            model: self.model,
            variant: self.variant,
            version: self.model_version,
            data_id: self.data_id,
        };
        self.fields.with_key(key)
    }
}
