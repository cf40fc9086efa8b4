//! What the map and the pages of models need of each span, read once and kept small.
//!
//! A cursor on the store of traces, like that of the rules: a request pays for what arrived since
//! the last one and not for what is stored. Two rings bound the memory, one for spans of requests and
//! one for spans of trainings, so that traffic does not push a training out.

mod names;
mod span;
mod training;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use runtime::Shutdown;
use tokio::time::MissedTickBehavior;

pub(crate) use names::{Name, Names};
pub(crate) use span::Fact;
pub(crate) use training::{EpochFact, RunFact, TrainingFact, TrainingKind};

use crate::blocking;
use crate::clock;
use crate::store::TelemetryStore;
use crate::store::traces::NewSpan;

/// The part of the stored bytes that the facts of requests may take on top of them.
const SHARE: usize = 4;
/// Facts of trainings: 16 runs of 500 epochs.
const MAX_TRAINING_FACTS: usize = 8_192;
/// How often what arrived is read when nobody asks.
const EVERY: Duration = Duration::from_secs(2);

/// The facts of a store, with the cursor.
pub(crate) struct SpanFacts {
    store: Arc<TelemetryStore>,
    facts: Mutex<Facts>,
    max_facts: usize,
}

/// The newest facts, the oldest first.
#[derive(Default)]
pub(crate) struct Facts {
    pub names: Names,
    pub spans: VecDeque<Fact>,
    pub training: VecDeque<TrainingFact>,
    cursor: u64,
}

impl SpanFacts {
    pub(crate) fn new(store: Arc<TelemetryStore>) -> Arc<SpanFacts> {
        let max_facts = store.traces.max_bytes() / SHARE / size_of::<Fact>();
        Arc::new(SpanFacts {
            max_facts: max_facts.max(64),
            store,
            facts: Mutex::default(),
        })
    }

    /// Calls `read` with everything that has arrived.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Facts) -> T) -> T {
        let mut facts = self.facts.lock();
        let newer = self.store.traces.newer_than(facts.cursor);
        facts.cursor = newer.cursor;
        let now = clock::now();
        for new in &newer.items {
            facts.take(new, now, self.max_facts);
        }
        read(&facts)
    }

    /// Reads what arrives until `shutdown`, so that no reader has to wait for all of it.
    pub(crate) async fn run(self: Arc<SpanFacts>, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.wait() => return,
            }
            let facts = Arc::clone(&self);
            blocking::read(move || facts.read(|_| ())).await;
        }
    }
}

impl Facts {
    /// Takes one span that arrived at `now`.
    fn take(&mut self, new: &NewSpan, now: u64, max_facts: usize) {
        let span = new.span();
        if self.names.is_full() {
            self.rename();
        }
        let fact = Fact::of(&mut self.names, &new.source, new.trace_id, &span, now);
        for part in training::facts(&mut self.names, &new.source, &fact, &span) {
            if self.training.len() >= MAX_TRAINING_FACTS {
                self.training.pop_front();
            }
            self.training.push_back(part);
        }
        if self.spans.len() >= max_facts {
            self.spans.pop_front();
        }
        self.spans.push_back(fact);
    }

    /// Drops the names that no fact has any more. If nearly all are in use, what is new stays
    /// without a name of its own until facts have left.
    fn rename(&mut self) {
        let old = std::mem::take(&mut self.names);
        let mut rename = |name: &mut Name| *name = self.names.intern(old.text(*name));
        for fact in &mut self.spans {
            fact.each_name(&mut rename);
        }
        for fact in &mut self.training {
            fact.each_name(&mut rename);
        }
        self.names.wait();
    }
}

#[cfg(test)]
pub(crate) mod bench;
#[cfg(test)]
mod tests;
