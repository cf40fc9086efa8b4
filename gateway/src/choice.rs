//! Which variant answers for which id, and why.
//!
//! A request names its variant in `baggage: ml.variant=NAME`, or the user of `baggage: user.id=…`
//! decides, or the id itself. The same key always gets the same variant, and a changed weight moves
//! only the keys that it must (see [`rendezvous`]). Every choice is a log event
//! `feature_flag.evaluation`, as the semantic conventions have it.

mod baggage;
mod record;
mod rendezvous;

use std::sync::Arc;

pub(crate) use baggage::Wish;
use protocol::ErrorCode;

use crate::dispatch::Breakers;
use crate::error::ApiError;
use crate::names::is_variant_name;
use crate::traffic::{Mode, Split, VariantIndex};

/// How one request chooses among the variants of a model.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) model: Arc<str>,
    pub(crate) split: Arc<Split>,
    policy: Policy,
    breakers: Breakers,
}

#[derive(Debug)]
enum Policy {
    /// There is one variant.
    Only(VariantIndex),
    /// The request names it.
    Named(VariantIndex),
    /// By the hash of the user.
    ByUser(String),
    /// By the hash of each id.
    ById,
}

/// The variant that one id goes to, and those that failed before.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) variant: VariantIndex,
    pub(crate) failed: Vec<FailedVariant>,
}

/// A variant that could not answer for an id.
#[derive(Debug)]
pub(crate) struct FailedVariant {
    pub(crate) variant: VariantIndex,
    pub(crate) error: ErrorCode,
}

impl Choice {
    /// Its events say which variants are not waited for, by `breakers`.
    pub(crate) fn new(
        split: Arc<Split>,
        model: Arc<str>,
        wish: Wish,
        breakers: &Breakers,
    ) -> Result<Self, ApiError> {
        let policy = match (wish.variant, split.only, wish.user) {
            (Some(name), ..) => Policy::Named(named(&split, &model, &name)?),
            (None, Some(only), _) => Policy::Only(only),
            (None, None, Some(user)) => Policy::ByUser(user),
            (None, None, None) => Policy::ById,
        };
        Ok(Self {
            model,
            split,
            policy,
            breakers: breakers.clone(),
        })
    }

    /// Whether the id of each item decides, rather than the request as a whole.
    pub(crate) fn is_by_id(&self) -> bool {
        matches!(self.policy, Policy::ById)
    }

    /// The first choice for an id.
    pub(crate) fn assign(&self, id: &str) -> Assignment {
        self.assign_among(id, |_| true)
    }

    /// The first choice among some of the variants; if that leaves none of them, among all.
    pub(crate) fn assign_among(
        &self,
        id: &str,
        allowed: impl Fn(VariantIndex) -> bool,
    ) -> Assignment {
        let variant = match &self.policy {
            Policy::Only(variant) | Policy::Named(variant) => *variant,
            Policy::ByUser(_) | Policy::ById => {
                let ranked = rendezvous::ranked(&self.split, self.key(id));
                let allowed = ranked.iter().find(|variant| allowed(**variant));
                let best = allowed.or(ranked.first()).copied();
                best.unwrap_or_else(|| self.split.first())
            }
        };
        Assignment {
            variant,
            failed: Vec::new(),
        }
    }

    /// Whether another variant is left to ask if this one fails.
    pub(crate) fn has_next(&self, id: &str, assignment: &Assignment) -> bool {
        self.next(id, assignment).is_some()
    }

    /// Moves an id whose variant failed to the next one; false if there is none.
    pub(crate) fn reassign(&self, id: &str, assignment: &mut Assignment, error: ErrorCode) -> bool {
        let Some(next) = self.next(id, assignment) else {
            return false;
        };
        let variant = std::mem::replace(&mut assignment.variant, next);
        assignment.failed.push(FailedVariant { variant, error });
        true
    }

    /// The best variant that was not asked yet. A request that names its variant wants no other.
    fn next(&self, id: &str, assignment: &Assignment) -> Option<VariantIndex> {
        let hashed = matches!(self.policy, Policy::ByUser(_) | Policy::ById);
        if !self.split.fail_over || !hashed {
            return None;
        }
        let asked = |variant: &VariantIndex| {
            *variant == assignment.variant
                || assignment
                    .failed
                    .iter()
                    .any(|failed| failed.variant == *variant)
        };
        rendezvous::ranked(&self.split, self.key(id))
            .into_iter()
            .find(|variant| !asked(variant))
    }

    /// What is hashed for an id.
    fn key<'a>(&'a self, id: &'a str) -> &'a str {
        match &self.policy {
            Policy::ByUser(user) => user,
            _ => id,
        }
    }
}

/// The variant that a request names; a shadow never answers.
pub(crate) fn named(split: &Split, model: &str, name: &str) -> Result<VariantIndex, ApiError> {
    let variant = split.named(name);
    match variant {
        Some(variant) if split[variant].mode == Mode::Active => Ok(variant),
        _ => Err(ApiError::UnknownVariant {
            model: Some(model.to_owned()),
            variant: repeatable(name),
            shadow: variant.is_some(),
        }),
    }
}

/// A variant's name from a request, if an error message may repeat it; anything else could be a
/// secret.
pub(crate) fn repeatable(name: &str) -> Option<String> {
    is_variant_name(name).then(|| name.to_owned())
}

#[cfg(test)]
mod tests;
