//! What a request records of its choices: flag events, fail-overs in a metric and on the SERVER
//! span.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use protocol::ErrorCode;
use sha2::{Digest, Sha256};
use telemetry::metrics::{Counter, counter};
use telemetry::{KeyValue, attr};

use super::{Assignment, Choice, Policy};
use crate::traffic::{Split, VariantIndex};

static FAIL_OVERS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::ML_VARIANT_FAIL_OVERS,
        "{prediction}",
        "Predictions asked of another variant than the one that was chosen",
    )
});

/// Why a variant was chosen: a value of `feature_flag.result.reason`.
#[derive(Clone, Copy)]
enum Reason {
    Split,
    TargetingMatch,
    /// The chosen one failed.
    Default,
}

/// The ids that moved from one variant to another, and the first error.
struct FailOver<'a> {
    ids: Vec<&'a str>,
    error: ErrorCode,
}

impl Choice {
    /// Records the first choices for the ids of a request, each variant once. Where there is one
    /// variant, nothing was chosen.
    pub(crate) fn record<'a>(
        &self,
        assignments: impl Iterator<Item = (&'a str, &'a Assignment)> + Clone,
    ) {
        let reason = match self.policy {
            Policy::Only(_) => return,
            Policy::Named(_) => Reason::TargetingMatch,
            Policy::ByUser(_) | Policy::ById => Reason::Split,
        };
        let ids: Vec<&str> = assignments.clone().map(|(id, _)| id).take(2).collect();
        let context = self.context(&ids);
        let mut recorded: Vec<VariantIndex> = Vec::new();
        for (_, assignment) in assignments {
            let first = assignment.failed.first();
            let first = first.map_or(assignment.variant, |failed| failed.variant);
            if !recorded.contains(&first) {
                recorded.push(first);
                self.log(first, reason, context.as_deref(), None);
            }
        }
    }

    /// Records the ids that moved to another variant, each pair of variants once.
    pub(crate) fn record_fail_overs<'a>(
        &self,
        assignments: impl Iterator<Item = (&'a str, &'a Assignment)>,
    ) {
        let mut moved: BTreeMap<(usize, VariantIndex, VariantIndex), FailOver<'a>> =
            BTreeMap::new();
        for (id, assignment) in assignments {
            let targets = assignment
                .failed
                .iter()
                .skip(1)
                .map(|failed| failed.variant);
            let targets = targets.chain([assignment.variant]);
            for (round, (failed, to)) in assignment.failed.iter().zip(targets).enumerate() {
                let fail_over =
                    moved
                        .entry((round, failed.variant, to))
                        .or_insert_with(|| FailOver {
                            ids: Vec::new(),
                            error: failed.error,
                        });
                fail_over.ids.push(id);
            }
        }
        for ((_, from, to), FailOver { ids, error }) in moved {
            let (from_name, to_name) = (&self.split[from].name, &self.split[to].name);
            let context = self.context(&ids);
            self.log(to, Reason::Default, context.as_deref(), Some(error));
            telemetry::current().set(attr::ML_VARIANT_FAILED, Arc::clone(from_name));
            let labels = [
                KeyValue::new(attr::ML_VARIANT, Arc::clone(to_name)),
                KeyValue::new(attr::ML_VARIANT_FAILED, Arc::clone(from_name)),
                KeyValue::new(attr::ERROR_TYPE, error.as_str()),
            ];
            FAIL_OVERS.add(ids.len() as u64, &labels);
        }
    }

    /// Sets the variant that answers on the SERVER span.
    pub(crate) fn set_on_span(&self, variant: VariantIndex) {
        telemetry::current().set(attr::ML_VARIANT, Arc::clone(&self.split[variant].name));
    }

    /// A pseudonym of the user or of the single id that was chosen for; several ids have none.
    fn context(&self, ids: &[&str]) -> Option<String> {
        match (&self.policy, ids) {
            (Policy::ByUser(user), _) => Some(pseudonym(&self.split, "user", user)),
            (_, [id]) if !id.is_empty() => Some(pseudonym(&self.split, "id", id)),
            _ => None,
        }
    }

    fn log(
        &self,
        variant: VariantIndex,
        reason: Reason,
        context: Option<&str>,
        error: Option<ErrorCode>,
    ) {
        let (split, model) = (&self.split, &self.model);
        let breaker = self.breakers.state(&split[variant]).as_attribute();
        let (variant, reason) = (&*split[variant].name, reason.as_str());
        tracing::info!(
            name: "feature_flag.evaluation",
            {
                "feature_flag.key" = &**model,
                "feature_flag.provider.name" = "throughline",
                "feature_flag.result.variant" = variant,
                "feature_flag.result.reason" = reason,
                "feature_flag.set.id" = &*split.set,
                "feature_flag.version" = split.version,
                "feature_flag.context.id" = context,
                "ml.variant.breaker" = breaker,
                "error.type" = error.map(ErrorCode::as_str)
            },
            "variant {variant} of {model} was chosen ({reason})"
        );
    }
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::TargetingMatch => "targeting_match",
            Self::Default => "default",
        }
    }
}

/// Stands for a user or an id and cannot be read back; another salt gives another one.
fn pseudonym(split: &Split, kind: &str, key: &str) -> String {
    let text = format!("feature_flag.context.id\0{kind}\0{}\0{key}", split.salt);
    hex::encode(&Sha256::digest(text)[..8])
}
