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

/// `model@variant/version/data_id`, unique to the key: `%`, `/` and `@` are escaped in all parts
/// but the last.
///
/// The variant `primary` is left out together with its `@`, so that predictions of the releases
/// before variants are still found. An id that would be too long is replaced by its hash, which has
/// no slash and so cannot be the id of another key.
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

/// The document version, microseconds since 1970: with it Elasticsearch refuses an older
/// computation after a newer one.
pub(super) fn version(computed_at: Timestamp) -> i64 {
    computed_at.as_microsecond().max(0)
}

/// A document.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Document<'a> {
    model: Cow<'a, str>,
    model_version: Cow<'a, str>,
    data_id: Cow<'a, str>,
    variant: Cow<'a, str>,
    label: Cow<'a, str>,
    confidence: f32,
    probabilities: Cow<'a, [f32]>,
    computed_at: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    span_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_id: Option<Cow<'a, str>>,
}

impl<'a> From<&'a StoredPrediction> for Document<'a> {
    fn from(prediction: &'a StoredPrediction) -> Self {
        let by = prediction.computed_by.as_ref();
        Self {
            model: (&*prediction.key.model).into(),
            model_version: (&*prediction.key.version).into(),
            data_id: (&*prediction.key.data_id).into(),
            variant: (&*prediction.key.variant).into(),
            label: (&prediction.label).into(),
            confidence: prediction.confidence,
            probabilities: (&prediction.probabilities).into(),
            computed_at: prediction.computed_at.to_string().into(),
            trace_id: by.map(|by| by.trace_id.to_string().into()),
            span_id: by.map(|by| by.span_id.to_string().into()),
            run_id: prediction.run_id.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<Document<'_>> for StoredPrediction {
    type Error = StoreError;

    fn try_from(document: Document<'_>) -> Result<Self, StoreError> {
        let ids = document.trace_id.zip(document.span_id);
        Ok(Self {
            key: Key {
                model: (*document.model).into(),
                variant: (*document.variant).into(),
                version: (*document.model_version).into(),
                data_id: (*document.data_id).into(),
            },
            label: document.label.into_owned(),
            confidence: document.confidence,
            probabilities: document.probabilities.into_owned(),
            computed_at: document
                .computed_at
                .parse()
                .map_err(|_| StoreError::Unreadable {
                    what: "computed_at",
                })?,
            computed_by: ids.and_then(|(trace, span)| SpanRef::parse(&trace, &span)),
            run_id: document.run_id.map(Cow::into_owned),
        })
    }
}
