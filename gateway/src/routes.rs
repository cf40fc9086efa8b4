//! Which variants a model has, where each is served, and how much of the traffic it gets.
//!
//! Routes are a value that never changes: a file that has changed makes new ones (see [`watch`]), and a request works to
//! its end with those that it began with. What is chosen among the variants is told in [`crate::choice`].

mod file;
pub(crate) mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;

pub use file::RoutesError;
pub(crate) use file::is_variant_name;

use crate::config::ServiceAddress;

/// The name of the variant of a model service that was given none.
pub(crate) const PRIMARY: &str = "primary";
/// What the routes of a model belong to that no file names.
const COMMAND_LINE: &str = "command line";

/// One way to serve a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    /// Name, as in answers and in `ml.variant`.
    pub(crate) name: Arc<str>,
    /// Base address of the model service.
    pub(crate) service: Url,
    /// Share of the traffic, relative to the other variants of the model; none of a shadow.
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
    /// It is called beside and compared, and never answers.
    Shadow,
}

/// The variants of one model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// In the order of the file.
    pub(crate) variants: Vec<Variant>,
    /// What makes the split of this model another one than that of the next.
    pub(crate) salt: String,
    /// Whether another variant answers for one that fails.
    pub(crate) fail_over: bool,
    /// The only variant that gets traffic by itself, if it is the only one.
    pub(crate) only: Option<usize>,
    /// Nothing but the list of model services says that the model is served like this.
    pub(crate) implied: bool,
    /// Name of the set that the rule belongs to: that of the file.
    pub(crate) set: Arc<str>,
    /// Short hash of the rule: it changes exactly when the rule does.
    pub(crate) version: String,
}

/// The variants of every model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Routes {
    fallback: Arc<Route>,
    models: BTreeMap<String, Arc<Route>>,
}

impl Routes {
    /// The first service, or the one called `primary`, has all the traffic of all models.
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
        let set = COMMAND_LINE.into();
        let fallback = Route::new(
            variants.collect(),
            Rule {
                implied: true,
                set,
                ..Rule::default()
            },
        );
        Self {
            fallback: Arc::new(fallback),
            models: BTreeMap::new(),
        }
    }

    /// The same, with routes of their own for some models.
    pub(crate) fn with(services: &[ServiceAddress], models: BTreeMap<String, Route>) -> Self {
        let models = models
            .into_iter()
            .map(|(name, route)| (name, Arc::new(route)))
            .collect();
        Self {
            models,
            ..Self::of_services(services)
        }
    }

    /// The variants of a model; there is always at least one that answers.
    pub(crate) fn of(&self, model: &str) -> &Arc<Route> {
        self.models.get(model).unwrap_or(&self.fallback)
    }

    /// Where to ask for what is not about one model, such as the list of models.
    pub(crate) fn fallback(&self) -> &Arc<Route> {
        &self.fallback
    }

    /// The models that have routes of their own.
    pub(crate) fn models(&self) -> &BTreeMap<String, Arc<Route>> {
        &self.models
    }

    /// Every variant at every address, each pair once.
    pub(crate) fn services(&self) -> Vec<Variant> {
        let mut services: Vec<Variant> = Vec::new();
        for variant in std::iter::once(&self.fallback)
            .chain(self.models.values())
            .flat_map(|route| &route.variants)
        {
            if !services.iter().any(|known| known.is_at(variant)) {
                services.push(variant.clone());
            }
        }
        services
    }
}

/// What a route has beside its variants.
#[derive(Debug, Default)]
struct Rule {
    salt: String,
    fail_over: bool,
    implied: bool,
    set: Arc<str>,
}

impl Route {
    fn new(variants: Vec<Variant>, rule: Rule) -> Self {
        let Rule {
            salt,
            fail_over,
            implied,
            set,
        } = rule;
        let mut answering = (0..variants.len()).filter(|at| variants[*at].answers());
        let only = answering.next().filter(|_| answering.next().is_none());
        let version = version(&variants, &salt, fail_over);
        Self {
            variants,
            salt,
            fail_over,
            only,
            implied,
            set,
            version,
        }
    }

    /// The first variant that gets traffic: what is not worth a split is asked of it, and others are compared with it.
    pub(crate) fn first(&self) -> usize {
        self.variants.iter().position(Variant::answers).unwrap_or(0)
    }

    /// The variants that are called beside.
    pub(crate) fn shadows(&self) -> impl Iterator<Item = usize> {
        (0..self.variants.len()).filter(|at| self.variants[*at].mode == Mode::Shadow)
    }

    /// The variants and their weights, as a log line tells them.
    pub(crate) fn describe(&self) -> String {
        let one = |variant: &Variant| match variant.mode {
            Mode::Active => format!("{} {}", variant.name, variant.weight),
            Mode::Shadow => format!("{} shadow", variant.name),
        };
        self.variants.iter().map(one).collect::<Vec<_>>().join(", ")
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

/// 12 hex digits of the SHA-256 of everything that a rule says.
fn version(variants: &[Variant], salt: &str, fail_over: bool) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{salt}\n{fail_over}\n"));
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
