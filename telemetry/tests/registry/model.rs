//! The registry in `telemetry/registry`, in the v1 format of OpenTelemetry Weaver as far as we use
//! it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One file.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct File {
    #[serde(default)]
    pub(crate) imports: Imports,
    #[serde(default)]
    pub(crate) groups: Vec<Group>,
}

/// What is taken from the semantic conventions as it is.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Imports {
    #[serde(default)]
    pub(crate) metrics: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Group {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    pub(crate) brief: String,
    pub(crate) note: Option<String>,
    pub(crate) display_name: Option<String>,
    /// Of an event.
    pub(crate) name: Option<String>,
    pub(crate) span_kind: Option<String>,
    pub(crate) metric_name: Option<String>,
    pub(crate) instrument: Option<String>,
    pub(crate) unit: Option<String>,
    #[serde(default)]
    pub(crate) annotations: Annotations,
    pub(crate) attributes: Vec<Attribute>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    AttributeGroup,
    Span,
    Metric,
    Event,
    Entity,
}

/// Our own additions to the format.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Annotations {
    /// The packages whose code emits it.
    #[serde(default)]
    pub(crate) emitted_by: Vec<String>,
    /// Name of a span.
    pub(crate) name: Option<String>,
    /// `span` or `log`, of an event.
    pub(crate) carrier: Option<String>,
    /// Of a log record.
    pub(crate) severity: Option<String>,
    /// The imported metric whose attributes the group lists.
    pub(crate) metric: Option<Metric>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) instrument: String,
    pub(crate) unit: String,
}

/// A definition (`id`) or a use (`ref`).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attribute {
    pub(crate) id: Option<String>,
    pub(crate) r#ref: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<Type>,
    #[serde(rename = "stability")]
    _stability: Option<String>,
    pub(crate) brief: Option<String>,
    pub(crate) note: Option<String>,
    pub(crate) requirement_level: Option<Level>,
    #[serde(default)]
    pub(crate) examples: Vec<Scalar>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Type {
    Simple(String),
    Enum { members: Vec<Member> },
}

#[derive(Debug, Deserialize)]
pub(crate) struct Member {
    pub(crate) value: String,
    pub(crate) brief: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Level {
    Word(String),
    Condition { conditionally_required: String },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Scalar {
    Int(i64),
    Double(f64),
    Text(String),
}

impl Attribute {
    /// The attribute's name, defined here or used.
    pub(crate) fn name(&self) -> &str {
        self.id
            .as_deref()
            .or(self.r#ref.as_deref())
            .expect("an attribute has an id or a ref")
    }
}

impl Group {
    /// The metric that the group defines or describes.
    pub(crate) fn metric(&self) -> Option<Metric> {
        let own = || {
            let (name, instrument, unit) = (
                self.metric_name.clone()?,
                self.instrument.clone()?,
                self.unit.clone()?,
            );
            Some(Metric {
                name,
                instrument,
                unit,
            })
        };
        self.annotations.metric.clone().or_else(own)
    }

    /// How people call it: the name of the span, metric or event.
    pub(crate) fn shown(&self) -> Option<String> {
        match self.kind {
            Kind::Span => self.annotations.name.clone(),
            Kind::Event => self.name.clone(),
            _ => self.metric().map(|metric| metric.name),
        }
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a package lies in the repository")
        .to_owned()
}

/// All files by name.
pub(crate) fn load() -> BTreeMap<String, File> {
    let folder = root().join("telemetry/registry");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).expect("the registry") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if name != "registry_manifest.yaml" {
            let text = std::fs::read_to_string(&path).expect("a text");
            let file =
                serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            files.insert(name, file);
        }
    }
    files
}

/// All groups, in the order of the files.
pub(crate) fn groups(files: &BTreeMap<String, File>) -> impl Iterator<Item = &Group> {
    files.values().flat_map(|file| &file.groups)
}
