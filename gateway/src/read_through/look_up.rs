//! The look into the store: one call for everything that a request asks, whichever variants it was given to.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::ReadThrough;
use super::round::{Reason, Round, Slot};
use crate::cache::Directives;
use crate::store::{Lookup, LookupPart, StoredPrediction};

impl ReadThrough {
    /// Fills the slots that the store can answer.
    pub(super) async fn look_up(&self, round: &mut Round, open: &[usize], directives: Directives) {
        let groups = round.open_by_variant(open);
        if groups.is_empty() {
            return;
        }
        round.looked = Instant::now();
        if directives.no_cache && !directives.only_if_cached {
            round.open_all(&groups, Reason::Requested);
            return;
        }
        let part = |(variant, places): &(usize, Vec<usize>)| LookupPart {
            variant: (*round.route.variants[*variant].name).to_owned(),
            version: round.version(*variant).to_owned(),
            data_ids: places
                .iter()
                .map(|at| round.asked.ids[*at].clone())
                .collect(),
        };
        let lookup = Lookup {
            model: round.asked.model.clone(),
            parts: groups.iter().map(part).collect(),
        };
        let found = self.parts.store.get_many(lookup).await;
        round.timing.store += round.looked.elapsed();
        match found {
            Ok(found)
                if found.len() == groups.iter().map(|(_, places)| places.len()).sum::<usize>() =>
            {
                let now = (self.clock)();
                let places = groups.iter().flat_map(|(_, places)| places);
                for (at, found) in places.zip(found) {
                    round.slots[*at] = match found {
                        None => Slot::Open(Reason::Missing),
                        Some(found) => match self.freshness(&found, now, directives.max_age) {
                            Some(ttl) => {
                                round.tally.ttl = round.tally.ttl.into_iter().chain(ttl).min();
                                Slot::Stored(found)
                            }
                            None => Slot::Open(Reason::Stale),
                        },
                    };
                }
                round.count(&groups);
                self.compare_stored(round, directives);
            }
            // The error was told by the store's span and by the watch over it; here it only means to go on without.
            _ => round.open_all(&groups, Reason::StoreDown),
        }
    }

    /// What is stored takes part in the comparison of variants, where there are several.
    fn compare_stored(&self, round: &Round, directives: Directives) {
        if round.route.variants.len() > 1 && !directives.no_store {
            let stored = round.slots.iter().filter_map(|slot| {
                if let Slot::Stored(found) = slot {
                    Some(found)
                } else {
                    None
                }
            });
            self.parts.statistics.saw(&round.asked.model, stored);
        }
    }

    /// `None` when a stored prediction is too old; else the seconds until it is, if it ages.
    #[expect(
        clippy::option_option,
        reason = "stale, fresh for ever, and fresh for a while are three answers"
    )]
    fn freshness(
        &self,
        found: &StoredPrediction,
        now: Timestamp,
        max_age: Option<u64>,
    ) -> Option<Option<i64>> {
        let age = now.duration_since(found.computed_at).unsigned_abs();
        let age = if found.computed_at > now {
            Duration::ZERO
        } else {
            age
        };
        if max_age.is_some_and(|most| age > Duration::from_secs(most)) {
            return None;
        }
        match self.ttl {
            None => Some(None),
            Some(ttl) => ttl
                .checked_sub(age)
                .filter(|left| !left.is_zero())
                .map(|left| i64::try_from(left.as_secs()).ok()),
        }
    }
}
