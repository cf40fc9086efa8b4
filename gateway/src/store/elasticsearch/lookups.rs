//! Lookups of concurrent requests, joined: while one `_mget` is under way, the next one collects.
//!
//! A lookup that finds none under way goes at once, alone, in the task of its request: there is no
//! timer, and a single request waits for nobody. Each request has an `mget predictions` span of its
//! own, so that every trace has the same shape. The span of the first lookup is that of the call:
//! Elasticsearch gets its context, and the spans of the others link to it.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use telemetry::db::DbSpan;
use telemetry::span::LinkTarget;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::cluster::{CallOrigin, Cluster, Endpoint};
use super::exchange::{ExchangeFacts, HttpExchange};
use super::query;
use crate::store::{Lookup, StoreError, StoredPrediction};

/// Predictions at which a call is full. One request may ask for as many.
const FULL: usize = 1_000;
/// A call that takes longer than this holds nobody up: the next lookup goes beside it.
const SLOW: Duration = Duration::from_millis(10);

type Found = Result<Vec<Option<StoredPrediction>>, StoreError>;

/// Looks predictions up, with one call at a time for each node.
#[derive(Debug)]
pub(super) struct Lookups {
    cluster: Arc<Cluster>,
    endpoint: Endpoint,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<QueuedLookup>,
    /// When each call under way began, with its number.
    calls: Vec<(u64, Instant)>,
    last: u64,
}

/// The lookup of one request. Its span stays with the request, and so ends with it.
#[derive(Debug)]
struct QueuedLookup {
    lookup: Lookup,
    origin: CallOrigin,
    done: oneshot::Sender<Answer>,
}

/// What a request gets, and what its span records.
#[derive(Debug)]
struct Answer {
    found: Found,
    facts: ExchangeFacts,
    /// Predictions that the call asked for, if this request's span is that of the call; else of this
    /// request alone.
    batch_size: usize,
    /// The span of the call, if it is another one.
    shared: Option<LinkTarget>,
}

/// The right to make a call. Its end starts the next call, even if the request that makes this one
/// leaves.
#[derive(Debug)]
struct Turn {
    lookups: Arc<Lookups>,
    number: u64,
}

impl Lookups {
    pub(super) fn new(cluster: Arc<Cluster>, alias: &str) -> Self {
        Self {
            endpoint: cluster.endpoint("mget", alias, "_mget"),
            cluster,
            queue: Mutex::default(),
        }
    }

    /// Looks up with the next call.
    pub(super) async fn get(self: &Arc<Self>, lookup: Lookup) -> Found {
        let call = self.cluster.start(&self.endpoint);
        let found = match call.all_down() {
            // At once: nothing is gained by waiting for a call that may be one of those that hang.
            Some(error) => Err(error.into()),
            None => match self.join(lookup, call.origin()).await {
                Some(answer) => answer.record_on(&call.span),
                None => Err(StoreError::Closed),
            },
        };
        if let Err(error) = &found {
            call.span.fail(error, error.error_type());
        }
        found
    }

    /// The answer of the next call; `None` if its task ended without one.
    async fn join(self: &Arc<Self>, lookup: Lookup, origin: CallOrigin) -> Option<Answer> {
        let (done, answer) = oneshot::channel();
        let queued = QueuedLookup {
            lookup,
            origin,
            done,
        };
        let (alone, call) = {
            let mut queue = self.queue.lock();
            let alone = queue.waiting.is_empty();
            queue.waiting.push_back(queued);
            (alone, queue.next_call(self.cluster.size(), Instant::now()))
        };
        match call {
            Some((number, joined)) if alone => self.turn(number).run(joined).await,
            // The others must not lose their answers when this request leaves.
            Some(call) => self.spawn(call),
            None => {}
        }
        answer.await.ok()
    }

    fn turn(self: &Arc<Self>, number: u64) -> Turn {
        Turn {
            lookups: Arc::clone(self),
            number,
        }
    }

    /// Makes a call in a task of its own.
    fn spawn(self: &Arc<Self>, (number, joined): (u64, Vec<QueuedLookup>)) {
        drop(telemetry::task::spawn(self.turn(number).run(joined)));
    }

    /// Looks up for all of them together, and returns to each its own part.
    async fn send(&self, joined: Vec<QueuedLookup>) {
        let Some(first) = joined.first() else { return };
        let body = query::lookup(joined.iter().map(|queued| &queued.lookup));
        let deadline = Instant::now() + self.cluster.timeout;
        let sent = self
            .cluster
            .send(&self.endpoint, &first.origin, body, deadline);
        let HttpExchange { result, facts } = sent.await;
        let count = joined.iter().map(|queued| queued.lookup.len()).sum();
        let mut found = result
            .map_err(StoreError::from)
            .and_then(|answer| query::found(count, &answer))
            .map(Vec::into_iter);
        let shared = first.origin.link_target();
        for (at, queued) in joined.into_iter().enumerate() {
            let own = queued.lookup.len();
            let answer = Answer {
                found: match &mut found {
                    Ok(found) => found.take(own).collect(),
                    Err(error) => Err(error.clone()),
                },
                facts: facts.clone(),
                batch_size: if at == 0 { count } else { own },
                shared: shared.clone().filter(|_| at > 0),
            };
            drop(queued.done.send(answer));
        }
    }
}

impl Turn {
    async fn run(self, joined: Vec<QueuedLookup>) {
        self.lookups.send(joined).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut queue = self.lookups.queue.lock();
            queue.calls.retain(|(number, _)| *number != self.number);
            queue.next_call(self.lookups.cluster.size(), Instant::now())
        };
        if let Some(call) = next {
            self.lookups.spawn(call);
        }
    }
}

impl Queue {
    /// Takes the lookups of the next call; none while as many calls as nodes are under way and one
    /// of them is young.
    fn next_call(&mut self, nodes: usize, now: Instant) -> Option<(u64, Vec<QueuedLookup>)> {
        let is_young = |(_, began): &(u64, Instant)| now.duration_since(*began) < SLOW;
        if self.calls.len() >= nodes && self.calls.iter().any(is_young) {
            return None;
        }
        // For those, nobody waits any more.
        self.waiting.retain(|queued| !queued.done.is_closed());
        let (mut joined, mut count) = (Vec::new(), 0);
        while let Some(queued) = self
            .waiting
            .pop_front_if(|queued| count == 0 || count + queued.lookup.len() <= FULL)
        {
            count += queued.lookup.len();
            joined.push(queued);
        }
        if joined.is_empty() {
            return None;
        }
        self.last += 1;
        self.calls.push((self.last, now));
        Some((self.last, joined))
    }
}

impl Answer {
    fn record_on(self, span: &DbSpan) -> Found {
        self.facts.record_on(span);
        span.set_batch_size(self.batch_size);
        if let Some(shared) = &self.shared {
            span.add_link(shared);
        }
        self.found
    }
}
