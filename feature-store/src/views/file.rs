//! The TOML file that declares feature views. It is checked completely at start: a mistake stops
//! the process and names the line or the key, instead of failing a later request.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;

use super::{Feature, FeatureRef, FeatureView, Views};
use crate::value::Dtype;

/// The declaration of the feature views is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ViewsError {
    /// The file cannot be read.
    #[error("cannot read the feature views in {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML or has unknown keys; the cause names line and column.
    #[error("the feature views cannot be parsed")]
    Syntax(#[from] toml::de::Error),
    /// Well-formed, but invalid.
    #[error("{key}: {reason}")]
    Invalid {
        /// The place in the file, such as `feature_view "wine_features" ttl`.
        key: String,
        /// What is wrong there.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    feature_view: Vec<ViewEntry>,
    #[serde(default)]
    feature_service: Vec<ServiceEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewEntry {
    name: String,
    join_keys: Vec<String>,
    ttl: Option<String>,
    push_source: Option<String>,
    features: Vec<FeatureEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureEntry {
    name: String,
    dtype: Dtype,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceEntry {
    name: String,
    features: Vec<String>,
}

/// The id of the next view.
static NEXT_ID: AtomicUsize = AtomicUsize::new(0);

/// Columns of a written table that are not features.
const RESERVED: [&str; 2] = ["event_timestamp", "created"];

impl Views {
    /// Reads and checks the text of the file.
    pub fn parse(text: &str) -> Result<Self, ViewsError> {
        let file: File = toml::from_str(text)?;
        if file.feature_view.is_empty() {
            return Err(invalid("feature_view", "there is none"));
        }
        let mut views = Self::default();
        // Engines may fold the case of table names, so names that differ only by case count as one.
        let mut taken = HashSet::new();
        for entry in file.feature_view {
            let key = format!("feature_view {:?}", entry.name);
            check_name(&key, &entry.name)?;
            if !taken.insert(entry.name.to_ascii_lowercase()) {
                return Err(invalid(key, "is declared twice"));
            }
            let view = view(&key, entry)?;
            views
                .by_name
                .insert(Arc::clone(&view.name), views.all.len());
            views.all.push(Arc::new(view));
        }
        for entry in file.feature_service {
            let key = format!("feature_service {:?}", entry.name);
            let features = service(&views, &key, &entry.features)?;
            if views.services.insert(entry.name, features).is_some() {
                return Err(invalid(key, "is declared twice"));
            }
        }
        Ok(views)
    }
}

fn view(key: &str, mut entry: ViewEntry) -> Result<FeatureView, ViewsError> {
    let mut taken = HashSet::new();
    check_columns(
        &format!("{key} join_keys"),
        entry.join_keys.iter(),
        &mut taken,
    )?;
    check_columns(
        &format!("{key} features"),
        entry.features.iter().map(|feature| &feature.name),
        &mut taken,
    )?;
    if entry.push_source.as_deref() == Some("") {
        return Err(invalid(format!("{key} push_source"), "is empty"));
    }
    let ttl = match &entry.ttl {
        None => None,
        Some(text) => {
            let ttl = runtime::duration(text).map_err(|_| {
                invalid(
                    format!("{key} ttl"),
                    format!("{text:?} is not a time such as 30d, 12h, 45m, 10s or 500ms"),
                )
            })?;
            Some(ttl)
        }
    };
    let features: Vec<Feature> = entry
        .features
        .drain(..)
        .map(|feature| Feature {
            name: feature.name,
            dtype: feature.dtype,
        })
        .collect();
    let by_name: HashMap<_, _> = features
        .iter()
        .enumerate()
        .map(|(at, feature)| (feature.name.clone(), at))
        .collect();
    let ViewEntry {
        name,
        join_keys,
        push_source,
        ..
    } = entry;
    Ok(FeatureView {
        id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        name: name.into(),
        join_keys,
        features,
        ttl,
        push_source,
        by_name,
    })
}

fn service(views: &Views, key: &str, references: &[String]) -> Result<Vec<FeatureRef>, ViewsError> {
    let mut features = Vec::new();
    for reference in references {
        let (view, feature) = match reference.split_once(':') {
            Some((view, feature)) => (view, Some(feature)),
            None => (reference.as_str(), None),
        };
        let unknown = || {
            invalid(
                format!("{key} features"),
                format!("there is no {reference:?}"),
            )
        };
        let at = *views.by_name.get(view).ok_or_else(unknown)?;
        let view = &views.all[at];
        match feature {
            Some(name) => features.push(FeatureRef {
                view: at,
                feature: view.feature(name).ok_or_else(unknown)?,
            }),
            None => features
                .extend((0..view.features.len()).map(|feature| FeatureRef { view: at, feature })),
        }
    }
    if features.is_empty() {
        Err(invalid(format!("{key} features"), "is empty"))
    } else {
        Ok(features)
    }
}

fn check_columns<'a>(
    key: &str,
    names: impl ExactSizeIterator<Item = &'a String>,
    taken: &mut HashSet<String>,
) -> Result<(), ViewsError> {
    if names.len() == 0 {
        return Err(invalid(key, "is empty"));
    }
    for name in names {
        check_name(key, name)?;
        if RESERVED.contains(&name.as_str()) {
            return Err(invalid(key, format!("{name:?} is reserved")));
        }
        if !taken.insert(name.to_ascii_lowercase()) {
            return Err(invalid(key, format!("{name:?} is declared twice")));
        }
    }
    Ok(())
}

/// Names become columns and keys of storage engines and parts of `view:feature` and
/// `view__feature`, so they are identifiers.
fn check_name(key: &str, name: &str) -> Result<(), ViewsError> {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|first| !first.is_ascii_digit())
        && !name.starts_with("__");
    if plain && starts_well && name.len() <= 63 {
        Ok(())
    } else {
        let rule = "is not a name: up to 63 letters, digits and underscores, not beginning with a digit or two underscores";
        Err(invalid(key, format!("{name:?} {rule}")))
    }
}

fn invalid(key: impl Into<String>, reason: impl Into<String>) -> ViewsError {
    ViewsError::Invalid {
        key: key.into(),
        reason: reason.into(),
    }
}
