//! Bodies of `/get-online-features`, `/push` and `/write-to-online-store`.

use serde::{Deserialize, Serialize, Serializer};

use super::Columns;

/// Body of `POST /get-online-features`. The lists in it are type parameters, so that a service can
/// read and write it without copies.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct OnlineRequest<Features = Vec<String>, Entities = Columns> {
    /// `view:feature` references; exclusive with `feature_service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    /// Name of a feature service; exclusive with `features`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_service: Option<String>,
    /// Values of each join key, all lists of one length.
    pub entities: Entities,
    /// Answer `view__feature` for `feature`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub full_feature_names: bool,
    /// Add `feature_view_metadata` to the answer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub include_feature_view_version_metadata: bool,
}

/// The features that a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Selection<'a, Name = String> {
    /// These `view:feature` references.
    Features(&'a [Name]),
    /// All features of this service.
    Service(&'a str),
}

/// A feature of a view, which is written as `view:feature`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reference<'a> {
    /// Name of the view.
    pub view: &'a str,
    /// Name of the feature.
    pub feature: &'a str,
}

/// Body of `POST /push`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PushRequest {
    /// The source, which feeds one or more views.
    pub push_source_name: String,
    /// Join keys, features, `event_timestamp` and optionally `created`.
    pub df: Columns,
    /// Where to write; online if absent.
    #[serde(default)]
    pub to: PushTarget,
    /// For Feast's registry; ignored here.
    #[serde(default = "yes")]
    pub allow_registry_cache: bool,
    /// For Feast's on-demand views; ignored here.
    #[serde(default = "yes")]
    pub transform_on_write: bool,
}

/// The store that a push goes to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PushTarget {
    /// The online store.
    #[default]
    Online,
    /// The offline store.
    Offline,
    /// Both.
    OnlineAndOffline,
}

/// Body of `POST /write-to-online-store`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct WriteRequest {
    /// The view to write.
    pub feature_view_name: String,
    /// Join keys, features, `event_timestamp` and optionally `created`.
    pub df: Columns,
    /// For Feast's registry; ignored here.
    #[serde(default = "yes")]
    pub allow_registry_cache: bool,
    /// For Feast's on-demand views; ignored here.
    #[serde(default = "yes")]
    pub transform_on_write: bool,
}

impl<Features, Entities> OnlineRequest<Features, Entities> {
    /// A request for these `view:feature` references.
    pub fn for_features(features: Features, entities: Entities) -> Self {
        Self {
            features: Some(features),
            feature_service: None,
            entities,
            full_feature_names: false,
            include_feature_view_version_metadata: false,
        }
    }
}

impl<Name, Entities> OnlineRequest<Vec<Name>, Entities> {
    /// Features or service; `None` if the request has neither or both.
    pub fn selection(&self) -> Option<Selection<'_, Name>> {
        match (&self.features, &self.feature_service) {
            (Some(features), None) => Some(Selection::Features(features)),
            (None, Some(service)) => Some(Selection::Service(service)),
            _ => None,
        }
    }
}

impl Serialize for Reference<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:{}", self.view, self.feature))
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn yes() -> bool {
    true
}
