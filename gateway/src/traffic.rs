//! The traffic split: which variants a model has, where each is served, and how much of the traffic
//! it gets.
//!
//! A split never changes: a changed file makes new ones (see [`watch`]), and a request finishes
//! with those that it started with. [`crate::choice`] chooses among the variants of a split.

mod file;
pub(crate) mod watch;

use std::collections::BTreeMap;
use std::ops::Index;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;

pub use file::RoutesError;

use crate::config::ServiceAddress;
use crate::names::PRIMARY;

/// The set that a split belongs to when no file has it.
const COMMAND_LINE: &str = "command line";

/// One way to serve a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    /// Name, as in answers and in `ml.variant`.
    pub(crate) name: Arc<str>,
    /// Base address of the model service.
    pub(crate) service: Url,
    /// Share of the traffic, relative to the other variants of the model; 0 for a shadow.
    pub(crate) weight: u32,
    pub(crate) mode: Mode,
}

/// What a variant is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// It answers.
    #[default]
    Active,
    /// It gets copies of the calls to be compared, and never answers.
    Shadow,
}

/// The place of a variant in its split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VariantIndex(usize);

/// The variants of one model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// In the order of the file.
    pub(crate) variants: Vec<Variant>,
    /// Makes the split of this model independent of the split of another one.
    pub(crate) salt: String,
    /// Whether another variant answers for one that fails.
    pub(crate) fail_over: bool,
    /// The variant that gets all the traffic, if there is one.
    pub(crate) only: Option<VariantIndex>,
    /// It follows from the list of model services; no routes file names the model.
    pub(crate) implied: bool,
    /// Name of the file that has this split.
    pub(crate) set: Arc<str>,
    /// Short hash of the split: it changes exactly when the split does.
    pub(crate) version: String,
}

/// The splits of all models.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    fallback: Arc<Split>,
    models: BTreeMap<String, Arc<Split>>,
}

impl Traffic {
    /// The first service, or the one called `primary`, gets all the traffic of all models.
    pub(crate) fn of_services(services: &[ServiceAddress]) -> Self {
        let first = services
            .iter()
            .position(|service| service.name == PRIMARY)
            .unwrap_or(0);
        let variants = services.iter().enumerate().map(|(at, service)| Variant {
            name: service.name.as_str().into(),
            service: service.url.clone(),
            weight: u32::from(at == first),
            mode: Mode::Active,
        });
        let rule = Rule {
            implied: true,
            set: COMMAND_LINE.into(),
            ..Rule::default()
        };
        Self {
            fallback: Arc::new(Split::new(variants.collect(), rule)),
            models: BTreeMap::new(),
        }
    }

    /// The same, with a split of their own for some models.
    pub(crate) fn with(services: &[ServiceAddress], models: BTreeMap<String, Split>) -> Self {
        let models = models
            .into_iter()
            .map(|(name, split)| (name, Arc::new(split)))
            .collect();
        Self {
            models,
            ..Self::of_services(services)
        }
    }

    /// The split of a model; at least one of its variants answers.
    pub(crate) fn of(&self, model: &str) -> &Arc<Split> {
        self.models.get(model).unwrap_or(&self.fallback)
    }

    /// The split for requests that name no model, such as the list of models.
    pub(crate) fn fallback(&self) -> &Arc<Split> {
        &self.fallback
    }

    /// The models that have a split of their own.
    pub(crate) fn models(&self) -> &BTreeMap<String, Arc<Split>> {
        &self.models
    }

    /// Every variant at every address, each pair once.
    pub(crate) fn services(&self) -> Vec<Variant> {
        let mut services: Vec<Variant> = Vec::new();
        for variant in std::iter::once(&self.fallback)
            .chain(self.models.values())
            .flat_map(|split| &split.variants)
        {
            if !services.iter().any(|known| known.is_at(variant)) {
                services.push(variant.clone());
            }
        }
        services
    }
}

/// What a split has besides its variants.
#[derive(Debug, Default)]
struct Rule {
    salt: String,
    fail_over: bool,
    implied: bool,
    set: Arc<str>,
}

impl Split {
    fn new(variants: Vec<Variant>, rule: Rule) -> Self {
        let mut split = Self {
            version: version(&variants, &rule),
            variants,
            salt: rule.salt,
            fail_over: rule.fail_over,
            only: None,
            implied: rule.implied,
            set: rule.set,
        };
        split.only = {
            let mut answering = split.answering();
            answering.next().filter(|_| answering.next().is_none())
        };
        split
    }

    /// The variants with their places.
    pub(crate) fn indexed(&self) -> impl Iterator<Item = (VariantIndex, &Variant)> {
        self.variants
            .iter()
            .enumerate()
            .map(|(at, variant)| (VariantIndex(at), variant))
    }

    /// The variants that get traffic.
    pub(crate) fn answering(&self) -> impl Iterator<Item = VariantIndex> {
        self.indexed()
            .filter(|(_, variant)| variant.answers())
            .map(|(at, _)| at)
    }

    /// The first variant that gets traffic: it gets what is not split, and others are compared with
    /// it.
    pub(crate) fn first(&self) -> VariantIndex {
        self.answering().next().unwrap_or(VariantIndex(0))
    }

    /// The variant with this name, active or shadow.
    pub(crate) fn named(&self, name: &str) -> Option<VariantIndex> {
        self.indexed()
            .find(|(_, variant)| *variant.name == *name)
            .map(|(at, _)| at)
    }

    pub(crate) fn shadows(&self) -> impl Iterator<Item = VariantIndex> {
        self.indexed()
            .filter(|(_, variant)| variant.mode == Mode::Shadow)
            .map(|(at, _)| at)
    }

    /// The variants and their weights, for a log line.
    pub(crate) fn describe(&self) -> String {
        let variants = self.variants.iter().map(|variant| match variant.mode {
            Mode::Active => format!("{} {}", variant.name, variant.weight),
            Mode::Shadow => format!("{} shadow", variant.name),
        });
        variants.collect::<Vec<_>>().join(", ")
    }
}

impl Index<VariantIndex> for Split {
    type Output = Variant;

    fn index(&self, VariantIndex(at): VariantIndex) -> &Variant {
        &self.variants[at]
    }
}

impl Variant {
    /// Whether it gets traffic without being asked for by name.
    pub(crate) fn answers(&self) -> bool {
        self.mode == Mode::Active && self.weight > 0
    }

    /// Whether it is the same variant at the same address, whatever its share.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        self.name == other.name && self.service == other.service
    }
}

/// 12 hex digits of the SHA-256 of everything that makes a split.
fn version(variants: &[Variant], rule: &Rule) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{}\n{}\n", rule.salt, rule.fail_over));
    for Variant {
        name,
        service,
        weight,
        mode,
    } in variants
    {
        hash.update(format!("{name}\n{service}\n{weight}\n{mode:?}\n"));
    }
    hex::encode(&hash.finalize()[..6])
}

#[cfg(test)]
pub(crate) mod tests;
