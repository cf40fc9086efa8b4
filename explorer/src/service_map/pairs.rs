//! Who called whom: spans of callers beside spans of callees.

use std::collections::{HashMap, HashSet};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::Key;
use crate::facts::{Fact, Facts, Name};
use crate::measure::Calls;
use crate::store::{SpanId, TraceId};

/// How long the other end of a call may take to arrive: a caller's span ends and is exported after
/// that of the callee, in batches.
const GRACE: u64 = 15_000_000_000;

/// The spans, and what is known of them together.
pub(super) struct Pairs<'a> {
    facts: &'a Facts,
    by_id: HashMap<(TraceId, SpanId), &'a Fact>,
    /// Spans that another process continues.
    answered: HashSet<(TraceId, SpanId)>,
    /// Which service answers at an address.
    services: HashMap<Name, Name>,
}

impl<'a> Pairs<'a> {
    pub(super) fn of(facts: &'a Facts) -> Pairs<'a> {
        let by_id: HashMap<_, _> = facts
            .spans
            .iter()
            .map(|fact| ((fact.trace, fact.span), fact))
            .collect();
        let (mut answered, mut services) = (HashSet::new(), HashMap::new());
        for callee in facts.spans.iter().filter(|fact| is_callee(fact)) {
            let parent = (callee.trace, callee.parent);
            if let Some(caller) = by_id.get(&parent) {
                answered.insert(parent);
                if !caller.peer.address.is_none() {
                    services.insert(caller.peer.address, callee.service);
                }
            }
        }
        Pairs {
            facts,
            by_id,
            answered,
            services,
        }
    }

    /// The calls that arrived from `begin` to `now`, by their ends.
    pub(super) fn calls(&self, begin: u64, now: u64) -> HashMap<(Key, Key), Calls> {
        let mut calls: HashMap<_, Calls> = HashMap::new();
        for fact in &self.facts.spans {
            if fact.arrived < begin {
                continue;
            }
            if let Some((from, to, duration, error)) = self.call(fact, now) {
                calls.entry((from, to)).or_default().add(duration, error);
            }
        }
        calls
    }

    /// The call that a span stands for: each call is told by one of its spans only.
    fn call(&self, fact: &Fact, now: u64) -> Option<(Key, Key, u64, bool)> {
        let own = Key::Service(fact.service);
        let is_old = now.saturating_sub(fact.arrived) > GRACE;
        match fact.kind {
            _ if is_callee(fact) => match self.by_id.get(&(fact.trace, fact.parent)) {
                // The caller's time has the network in it.
                Some(caller) if caller.kind == SpanKind::Client => Some((
                    Key::Service(caller.service),
                    own,
                    caller.duration,
                    caller.error || fact.error,
                )),
                Some(caller) => {
                    let from = Key::Service(caller.service);
                    Some((from, own, fact.duration, fact.error))
                }
                None if fact.parent == SpanId::default() || is_old => {
                    Some((Key::Client, own, fact.duration, fact.error))
                }
                None => None,
            },
            SpanKind::Client if !fact.peer.database.is_none() => {
                let store = store(fact);
                Some((own, store, fact.duration, fact.error))
            }
            SpanKind::Client if !self.answered.contains(&(fact.trace, fact.span)) => {
                let to = match self.services.get(&fact.peer.address) {
                    // It failed before it got there, or its other end is on its way.
                    Some(service) if fact.error || is_old => Key::Service(*service),
                    None if is_old && !fact.peer.address.is_none() => Key::Peer(fact.peer.address),
                    _ => return None,
                };
                Some((own, to, fact.duration, fact.error))
            }
            SpanKind::Internal if fact.is_prediction(&self.facts.names) => {
                let to = Key::Variant {
                    model: fact.model,
                    variant: fact.variant,
                };
                Some((own, to, fact.duration, fact.error))
            }
            _ => None,
        }
    }
}

fn store(fact: &Fact) -> Key {
    let address = fact.peer.address;
    Key::Store {
        database: fact.peer.database,
        address,
        // Two services with an engine of their own have two stores.
        inside: if address.is_none() {
            fact.service
        } else {
            Name::NONE
        },
    }
}

fn is_callee(fact: &Fact) -> bool {
    matches!(fact.kind, SpanKind::Server | SpanKind::Consumer)
}
