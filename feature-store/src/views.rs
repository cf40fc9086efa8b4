//! Feature views: features, their entities, and how old they may be.

mod file;
mod live;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use file::ViewsError;
pub use live::{LiveViews, RejectedFile};

use crate::value::Dtype;

/// Every declared view, service and push source.
#[derive(Clone, Debug, Default)]
pub struct Views {
    all: Vec<Arc<FeatureView>>,
    by_name: HashMap<Arc<str>, usize>,
    services: HashMap<String, Vec<FeatureRef>>,
}

/// Features of one kind of entity that are written together and so share an event time.
#[derive(Debug)]
pub struct FeatureView {
    /// Unique in the process: a view that is declared anew has another one, so no cached row of the
    /// old declaration answers for it.
    pub(crate) id: usize,
    /// Name of the view, also of its table.
    pub name: Arc<str>,
    /// Names of the columns that identify an entity.
    pub join_keys: Vec<String>,
    /// The features, in the order of the file.
    pub features: Vec<Feature>,
    /// Rows older than this have expired; `None` for no limit.
    pub ttl: Option<Duration>,
    /// Rows that are pushed to this source go into this view.
    pub push_source: Option<String>,
    by_name: HashMap<String, usize>,
}

/// One column of a view.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Feature {
    /// Its name, unique in the view.
    pub name: String,
    /// Type of its values.
    pub dtype: Dtype,
}

/// A feature by the position of its view and its own in the view.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FeatureRef {
    /// Position of the view.
    pub view: usize,
    /// Position in the view.
    pub feature: usize,
}

/// The views that ship with the program.
const EMBEDDED: &str = include_str!("../feature_views.toml");

impl Views {
    /// Loads the file, or the views that ship with the program.
    pub fn load(path: Option<&Path>) -> Result<Self, ViewsError> {
        match path {
            None => Self::parse(EMBEDDED),
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|source| ViewsError::Unreadable {
                        path: path.to_owned(),
                        source,
                    })?;
                Self::parse(&text)
            }
        }
    }

    /// All views in the order of the file.
    pub fn all(&self) -> &[Arc<FeatureView>] {
        &self.all
    }

    /// These views and more; services are those of this declaration.
    fn with(&self, more: Vec<Arc<FeatureView>>) -> Self {
        let mut views = self.clone();
        for view in more {
            views
                .by_name
                .insert(Arc::clone(&view.name), views.all.len());
            views.all.push(view);
        }
        views
    }

    /// The view of this name.
    pub fn view(&self, name: &str) -> Option<&Arc<FeatureView>> {
        self.position(name).map(|at| &self.all[at])
    }

    /// The position of the view of this name.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The features of a feature service.
    pub fn service(&self, name: &str) -> Option<&[FeatureRef]> {
        self.services.get(name).map(Vec::as_slice)
    }

    /// The views that a push source feeds; none if there is no such source.
    pub fn fed_by(&self, push_source: &str) -> Vec<&Arc<FeatureView>> {
        self.all
            .iter()
            .filter(|view| view.push_source.as_deref() == Some(push_source))
            .collect()
    }

    /// Whether any view has this join key.
    pub fn is_join_key(&self, name: &str) -> bool {
        self.all
            .iter()
            .any(|view| view.join_keys.iter().any(|key| key == name))
    }
}

impl FeatureView {
    /// Whether the other declaration says the same.
    fn is_like(&self, other: &Self) -> bool {
        self.name == other.name
            && self.join_keys == other.join_keys
            && self.features == other.features
            && self.ttl == other.ttl
            && self.push_source == other.push_source
    }

    /// Position of a feature.
    pub fn feature(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

#[cfg(test)]
mod tests;
