//! Writes of concurrent requests, joined: while one bulk is under way, the next one collects.
//!
//! Each request has a `bulk predictions` span of its own, so that every trace of a miss has the same shape. The span of
//! the first member is that of the call: its context goes to Elasticsearch, and it links to the requests of all members.
//! The spans of the others link to it.

mod wire;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use telemetry::{SpanRef, WithSpan, attr};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::cluster::{Call, Cluster, Endpoint, backoff};
use super::failure::Failure;
use super::index::Index;
use crate::store::{StoreError, StoredPrediction};

use wire::Lines;
pub(super) use wire::{ANSWER, Outcome, delete, items};

/// Predictions after which a bulk is full; a single request may bring half as many.
const FULL: usize = 2_000;

type ItemResult = Result<(), StoreError>;

/// The writes that wait, and the way of those that go.
#[derive(Debug)]
pub(super) struct Bulks {
    cluster: Arc<Cluster>,
    index: Arc<Index>,
    endpoint: Endpoint,
    retries: u32,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    members: VecDeque<Member>,
    running: bool,
}

/// One request's write.
#[derive(Debug)]
struct Member {
    predictions: Vec<StoredPrediction>,
    call: Call,
    request: Option<SpanRef>,
    done: oneshot::Sender<Vec<ItemResult>>,
}

impl Bulks {
    pub(super) fn new(cluster: Arc<Cluster>, index: Arc<Index>, alias: &str, retries: u32) -> Self {
        // Without `require_alias` a write would make an index of its own, with guessed fields, when ours is gone.
        // `timeout` is how long Elasticsearch waits for a shard; nobody here waits longer.
        let action = format!(
            "_bulk?require_alias=true&timeout={}ms&{ANSWER}",
            cluster.patience.as_millis()
        );
        let endpoint = cluster.endpoint("bulk", alias, &action);
        Self {
            cluster,
            index,
            endpoint,
            retries,
            waiting: Mutex::default(),
        }
    }

    /// Stores the predictions with the next bulk.
    pub(super) async fn submit(
        self: &Arc<Self>,
        predictions: Vec<StoredPrediction>,
    ) -> Result<Vec<ItemResult>, StoreError> {
        let (call, request) = (
            self.cluster.start(&self.endpoint),
            telemetry::current().span_ref(),
        );
        // Told at once: waiting for the bulk before, which may be the one that hangs, would help nobody.
        if let Some(failure) = call.is_vain() {
            let error = StoreError::from(failure);
            call.span.fail(&error, error.error_type());
            return Err(error);
        }
        let (done, settled) = oneshot::channel();
        let was_running = {
            let mut waiting = self.lock();
            waiting.members.push_back(Member {
                predictions,
                call,
                request,
                done,
            });
            std::mem::replace(&mut waiting.running, true)
        };
        if !was_running {
            let this = Arc::clone(self);
            // Nobody joins it: every member hears of its items by its own channel.
            drop(telemetry::task::spawn(async move { this.run().await }));
        }
        settled.await.map_err(|_| StoreError::Closed)
    }

    /// Writes whatever waits, one bulk for all that came in the meantime, until nothing waits.
    async fn run(&self) {
        while let Some(members) = self.next() {
            self.write(members).await;
        }
    }

    fn next(&self) -> Option<Vec<Member>> {
        let mut waiting = self.lock();
        let (mut members, mut count) = (Vec::new(), 0);
        while let Some(member) = waiting.members.pop_front() {
            // One who has left was told that nothing is stored, and during an outage many leave.
            if member.done.is_closed() {
                continue;
            }
            if count > 0 && count + member.predictions.len() > FULL {
                waiting.members.push_front(member);
                break;
            }
            count += member.predictions.len();
            members.push(member);
        }
        waiting.running = !members.is_empty();
        waiting.running.then_some(members)
    }

    /// Writes the predictions of all members together, and tells each what became of its own.
    async fn write(&self, members: Vec<Member>) {
        let Some(first) = members.first() else { return };
        describe(&members);
        let lines = Lines::of(members.iter().flat_map(|member| &member.predictions));
        let mut results = self
            .send(&first.call, &lines)
            .with_span(&first.call.span)
            .await
            .into_iter();
        for Member {
            predictions,
            call,
            done,
            ..
        } in members
        {
            let items: Vec<_> = results.by_ref().take(predictions.len()).collect();
            if let Some(error) = items.iter().find_map(|item| item.as_ref().err()) {
                call.span.fail(error, error.error_type());
            }
            // The span ends before the request that waits for it.
            drop(call);
            drop(done.send(items));
        }
    }

    /// Sends all lines, then once more those that failed for a passing reason, while there is time.
    async fn send(&self, call: &Call, lines: &Lines) -> Vec<ItemResult> {
        let deadline = Instant::now() + self.cluster.patience;
        let mut results: Vec<ItemResult> = lines
            .items
            .iter()
            .map(|_| Err(StoreError::TimedOut))
            .collect();
        let mut open: Vec<usize> = (0..results.len()).collect();
        let (mut tries, mut resent) = (0, 0);
        loop {
            let sent = match self.index.ensure(&self.cluster, deadline).await {
                Ok(()) => {
                    self.cluster
                        .send(&self.endpoint, call, lines.select(&open), deadline)
                        .await
                }
                Err(failure) => failure.into(),
            };
            resent += sent.resent;
            match sent
                .result
                .as_ref()
                .map_err(Failure::share)
                .and_then(|answer| items(open.len(), &answer.body))
            {
                Ok(items) => open = self.settle(&open, items, &mut results),
                Err(failure) => {
                    open.drain(..)
                        .for_each(|at| results[at] = Err(share(&failure)));
                }
            }
            if open.is_empty() || tries >= self.retries || !backoff(tries, deadline).await {
                sent.describe(call, resent);
                return results;
            }
            tries += 1;
            resent += 1;
        }
    }

    /// Takes down what became of each item, and gives those that are worth another try.
    fn settle(
        &self,
        open: &[usize],
        items: Vec<Outcome>,
        results: &mut [ItemResult],
    ) -> Vec<usize> {
        let (mut again, mut older) = (Vec::new(), 0);
        for (at, outcome) in open.iter().zip(items) {
            results[*at] = match outcome {
                Outcome::Done => Ok(()),
                // What is stored is newer. That is what the version is for, and the request's answer is as good.
                Outcome::Needless => {
                    older += 1;
                    Ok(())
                }
                Outcome::Failed(failure) => {
                    if failure.is_without_index() {
                        self.index.is_gone();
                    }
                    if failure.is_passing() || failure.is_without_index() {
                        again.push(*at);
                    }
                    Err(failure.into())
                }
            };
        }
        if older > 0 {
            tracing::debug!(name: "prediction_store.older", predictions = older, "{older} predictions were not stored, since newer ones are");
        }
        again
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Joins the spans: sizes and links.
fn describe(members: &[Member]) {
    let Some((first, others)) = members.split_first() else {
        return;
    };
    let own = |member: &Member| member.predictions.len();
    batch(&first.call, members.iter().map(own).sum());
    if others.is_empty() {
        return;
    }
    let call = first.call.span.span_ref();
    first.call.span.in_scope(|| {
        members
            .iter()
            .filter_map(|member| member.request.as_ref())
            .for_each(|request| telemetry::current().add_link(request));
    });
    for other in others {
        batch(&other.call, own(other));
        other.call.span.in_scope(|| {
            call.iter()
                .for_each(|call| telemetry::current().add_link(call))
        });
    }
}

fn batch(call: &Call, size: usize) {
    // By the conventions a batch of one is no batch.
    if let Some(size) = i64::try_from(size).ok().filter(|size| *size > 1) {
        call.span.set(attr::DB_OPERATION_BATCH_SIZE, size);
    }
}

/// A copy for one more of the items that failed together.
fn share(error: &StoreError) -> StoreError {
    match error {
        StoreError::Engine { error_type, source } => StoreError::Engine {
            error_type,
            source: source.to_string().into(),
        },
        StoreError::Unreadable { what } => StoreError::Unreadable { what },
        StoreError::TimedOut => StoreError::TimedOut,
        StoreError::Closed => StoreError::Closed,
    }
}
