//! One variant of a model, as its service described it.

use std::sync::Arc;

use crate::model_client::Metadata;
use crate::traffic::Variant;

/// What is known of one variant of one model.
#[derive(Clone, Debug)]
pub(crate) struct KnownVariant {
    /// The variant, and where it was asked.
    pub(crate) variant: Variant,
    /// The version that answers now; empty for a service without versions.
    pub(crate) version: Arc<str>,
    /// The version comes from an inference answer. Some services name it nowhere else.
    pub(super) from_answer: bool,
    /// All versions that can answer.
    pub(crate) versions: Vec<String>,
    pub(crate) takes: Takes,
    /// The classes of the version, none if they are not known or it predicts numbers.
    pub(crate) classes: Arc<[String]>,
    /// It could answer when it was last asked.
    pub(crate) ready: bool,
}

/// What a prediction can be asked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Takes {
    /// The model has an input `data_id`.
    pub(crate) data_ids: bool,
    /// The model has an input `text`.
    pub(crate) texts: bool,
    /// The model gives vectors, which are no predictions, so it can be asked by nothing.
    pub(crate) only_vectors: bool,
}

impl Takes {
    /// What at least one of several variants takes.
    pub(crate) fn any<'a>(variants: impl Iterator<Item = &'a Arc<KnownVariant>>) -> Self {
        variants.fold(Self::default(), |all, known| Self {
            data_ids: all.data_ids || known.takes.data_ids,
            texts: all.texts || known.takes.texts,
            only_vectors: all.only_vectors || known.takes.only_vectors,
        })
    }
}

impl KnownVariant {
    pub(super) fn from_metadata(variant: &Variant, metadata: Metadata, ready: bool) -> Self {
        // A service that names no inputs is taken to accept what it was configured for.
        let has = |input: &str| {
            metadata.inputs.is_empty() || metadata.inputs.iter().any(|name| name == input)
        };
        let gives = |output: &str| metadata.outputs.iter().any(|name| name == output);
        let only_vectors = gives("embedding") && !gives("label") && !gives("value");
        Self {
            variant: variant.clone(),
            version: metadata
                .current
                .or_else(|| newest(&metadata.versions))
                .unwrap_or_default()
                .into(),
            from_answer: false,
            takes: Takes {
                data_ids: has("data_id") && !only_vectors,
                texts: has("text") && !only_vectors,
                only_vectors,
            },
            versions: metadata.versions,
            classes: metadata
                .training
                .map_or_else(Arc::default, |training| training.classes.into()),
            ready,
        }
    }
}

/// The version that a service uses by default: the highest number; of other names, the last one.
fn newest(versions: &[String]) -> Option<String> {
    versions
        .iter()
        .filter_map(|version| Some((version.parse::<u64>().ok()?, version)))
        .max()
        .map(|(_, version)| version)
        .or(versions.last())
        .cloned()
}
