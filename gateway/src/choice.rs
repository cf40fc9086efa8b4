//! Which variant answers for which id, why, and how that is told.
//!
//! A variant is forced by `baggage: ml.variant=NAME`, chosen by the person of `baggage: user.id=…`, or chosen by the id itself.
//! The same key always gets the same variant, and a changed weight moves only the keys that it must (see [`rendezvous`]).
//! Every choice that is one is a log event `feature_flag.evaluation`, as the semantic conventions have it.

mod baggage;
mod rendezvous;

use std::sync::{Arc, LazyLock};

use sha2::{Digest, Sha256};
use telemetry::metrics::{Counter, counter};
use telemetry::{KeyValue, attr};

pub(crate) use baggage::Wish;

use crate::error::ApiError;
use crate::routes::{Mode, Route, is_variant_name};

static FAIL_OVERS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::ML_VARIANT_FAIL_OVERS,
        "{prediction}",
        "Predictions asked of another variant than was chosen",
    )
});

/// Why a variant was chosen: a value of `feature_flag.result.reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There is only one.
    Static,
    /// By hash.
    Split,
    /// The request asks for it by name.
    TargetingMatch,
    /// The one that was chosen failed.
    Default,
}

/// The variants that were chosen for the ids of one request.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) reason: Reason,
    /// For each id the place of its variant in the route.
    pub(crate) of: Vec<usize>,
    /// What was hashed instead of the ids.
    user: Option<String>,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Split => "split",
            Self::TargetingMatch => "targeting_match",
            Self::Default => "default",
        }
    }
}

impl Choice {
    /// Chooses for each of `ids`.
    pub(crate) fn of(
        route: &Route,
        model: &str,
        wish: Wish,
        ids: &[String],
    ) -> Result<Self, ApiError> {
        let all = |at| vec![at; ids.len()];
        if let Some(name) = &wish.forced {
            let at = forced(route, model, name)?;
            return Ok(Self {
                reason: Reason::TargetingMatch,
                of: all(at),
                user: None,
            });
        }
        if let Some(only) = route.only {
            return Ok(Self {
                reason: Reason::Static,
                of: all(only),
                user: None,
            });
        }
        let best = |key: &str| rendezvous::best(route, key).unwrap_or_else(|| route.first());
        let of = match &wish.user {
            Some(user) => all(best(user)),
            None => ids.iter().map(|id| best(id)).collect(),
        };
        Ok(Self {
            reason: Reason::Split,
            of,
            user: wish.user,
        })
    }

    /// Chooses again among some of the variants only, for the one key of a choice by hash; among none it leaves all.
    pub(crate) fn narrow(&mut self, route: &Route, key: &str, among: &[usize]) {
        let ranked = rendezvous::ranked(route, self.user.as_deref().unwrap_or(key));
        if let Some(best) = ranked.into_iter().find(|at| among.contains(at)) {
            self.of = vec![best];
        }
    }

    /// The variant that is asked after those in `tried` have failed for an id. Who asks for a variant by name wants no other.
    pub(crate) fn next(&self, route: &Route, id: &str, tried: &[usize]) -> Option<usize> {
        if !route.fail_over || self.reason == Reason::TargetingMatch {
            return None;
        }
        let ranked = rendezvous::ranked(route, self.user.as_deref().unwrap_or(id));
        ranked.into_iter().find(|at| !tried.contains(at))
    }

    /// Whether another variant would be asked if this one failed.
    pub(crate) fn has_next(&self, route: &Route) -> bool {
        route.fail_over && route.only.is_none() && self.reason != Reason::TargetingMatch
    }

    /// Tells the choice, once for each variant: nothing when there was nothing to choose.
    pub(crate) fn tell(&self, route: &Route, model: &str, ids: &[String]) {
        if self.reason == Reason::Static {
            return;
        }
        let context = self.context(route, ids);
        let mut told: Vec<usize> = Vec::new();
        for at in &self.of {
            if !told.contains(at) {
                told.push(*at);
                tell(route, model, *at, self.reason, context.as_deref(), None);
            }
        }
    }

    /// Tells that another variant is asked for `ids`, since the one that was chosen failed: as an event, on the SERVER span,
    /// and in the metric.
    pub(crate) fn tell_fail_over(
        &self,
        route: &Route,
        model: &str,
        (from, to): (usize, usize),
        ids: &[String],
        error_type: &'static str,
    ) {
        tell(
            route,
            model,
            to,
            Reason::Default,
            self.context(route, ids).as_deref(),
            Some(error_type),
        );
        let name = |variant: usize| Arc::clone(&route.variants[variant].name);
        telemetry::current().set(attr::ML_VARIANT_FAILED, name(from));
        let labels = [
            KeyValue::new(attr::ML_VARIANT, name(to)),
            KeyValue::new(attr::ML_VARIANT_FAILED, name(from)),
            KeyValue::new(attr::ERROR_TYPE, error_type),
        ];
        FAIL_OVERS.add(ids.len() as u64, &labels);
    }

    /// Stands for the person, the single id or the trace that was chosen for; a request of several ids has no such one.
    fn context(&self, route: &Route, ids: &[String]) -> Option<String> {
        match (&self.user, ids) {
            (Some(user), _) => Some(pseudonym(route, "user", user)),
            (None, [id]) if !id.is_empty() => Some(pseudonym(route, "id", id)),
            _ => None,
        }
    }
}

/// The place of a variant that a request asks for by name.
pub(crate) fn forced(route: &Route, model: &str, name: &str) -> Result<usize, ApiError> {
    let at = route
        .variants
        .iter()
        .position(|variant| *variant.name == *name);
    match at {
        Some(at) if route.variants[at].mode == Mode::Active => Ok(at),
        _ => Err(ApiError::UnknownVariant {
            model: Some(model.to_owned()),
            variant: told(name),
            shadow: at.is_some(),
        }),
    }
}

/// A name as an error may repeat it: what is none is whatever a client likes to write.
pub(crate) fn told(name: &str) -> Option<String> {
    is_variant_name(name).then(|| name.to_owned())
}

/// A name for somebody that cannot be read back; of another salt, it is another one.
fn pseudonym(route: &Route, kind: &str, key: &str) -> String {
    hex::encode(
        &Sha256::digest(format!(
            "feature_flag.context.id\0{kind}\0{}\0{key}",
            route.salt
        ))[..8],
    )
}

fn tell(
    route: &Route,
    model: &str,
    at: usize,
    reason: Reason,
    context: Option<&str>,
    error_type: Option<&str>,
) {
    let (variant, reason) = (&*route.variants[at].name, reason.as_str());
    tracing::info!(
        name: "feature_flag.evaluation",
        {
            "feature_flag.key" = model,
            "feature_flag.provider.name" = "throughline",
            "feature_flag.result.variant" = variant,
            "feature_flag.result.reason" = reason,
            "feature_flag.set.id" = &*route.set,
            "feature_flag.version" = route.version,
            "feature_flag.context.id" = context,
            "error.type" = error_type
        },
        "variant {variant} of {model} was chosen ({reason})"
    );
}

#[cfg(test)]
mod tests;
