//! Writes of concurrent requests, joined: while one bulk is under way, the next one collects.
//!
//! Each request has a `bulk predictions` span of its own, so that every trace of a miss has the
//! same shape. The span of the first write is that of the call: Elasticsearch gets its context, and
//! it links to the requests of all the others, whose spans link to it.

mod replace;
mod wire;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use telemetry::{SpanRef, WithSpan};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::cluster::{ClientCall, Cluster, Endpoint, backoff};
use super::exchange::HttpExchange;
use super::index::Index;
use crate::store::{StoreError, StoredPrediction, Written};

use wire::BulkBody;
pub(super) use wire::{ANSWER, ItemOutcome, deletions, items};

/// Predictions at which a bulk is full. A request may bring half as many.
const FULL: usize = 2_000;

type ItemResult = Result<Written, StoreError>;

/// Writes predictions, one bulk at a time.
#[derive(Debug)]
pub(super) struct BulkWriter {
    cluster: Arc<Cluster>,
    index: Arc<Index>,
    endpoint: Endpoint,
    /// Reads what refused a write.
    versions: Endpoint,
    retries: u32,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    writes: VecDeque<QueuedWrite>,
    /// Whether a task is sending what is queued.
    running: bool,
}

/// The write of one request.
#[derive(Debug)]
struct QueuedWrite {
    predictions: Vec<StoredPrediction>,
    call: ClientCall,
    request: Option<SpanRef>,
    done: oneshot::Sender<Vec<ItemResult>>,
}

impl BulkWriter {
    pub(super) fn new(cluster: Arc<Cluster>, index: Arc<Index>, alias: &str, retries: u32) -> Self {
        // Without `require_alias` a write would create an index with guessed mappings when ours is
        // gone. `timeout` is how long Elasticsearch waits for a shard, and nobody here waits
        // longer.
        let timeout = cluster.timeout.as_millis();
        let action = format!("_bulk?require_alias=true&timeout={timeout}ms&{ANSWER}");
        Self {
            endpoint: cluster.endpoint("bulk", alias, &action),
            versions: cluster.endpoint("mget", alias, replace::MGET),
            cluster,
            index,
            retries,
            queue: Mutex::default(),
        }
    }

    /// Stores the predictions with the next bulk.
    pub(super) async fn submit(
        self: &Arc<Self>,
        predictions: Vec<StoredPrediction>,
    ) -> Result<Vec<ItemResult>, StoreError> {
        let call = self.cluster.start(&self.endpoint);
        // At once: nothing is gained by waiting for the bulk before, which may be the one that
        // hangs.
        if let Some(error) = call.all_down() {
            let error = StoreError::from(error);
            call.span.fail(&error, error.error_type());
            return Err(error);
        }
        let (done, stored) = oneshot::channel();
        let write = QueuedWrite {
            predictions,
            call,
            request: telemetry::current().span_ref(),
            done,
        };
        if self.queue.lock().push(write) {
            let this = Arc::clone(self);
            // Nobody joins it: every write gets its results through its own channel.
            drop(telemetry::task::spawn(async move { this.run().await }));
        }
        stored.await.map_err(|_| StoreError::Closed)
    }

    /// Sends what is queued, one bulk for all that came in the meantime, until the queue is empty.
    async fn run(&self) {
        loop {
            let writes = self.queue.lock().next_bulk();
            if writes.is_empty() {
                return;
            }
            self.write(writes).await;
        }
    }

    /// Writes the predictions of all writes together and returns to each its own results.
    async fn write(&self, writes: Vec<QueuedWrite>) {
        let Some(first) = writes.first() else { return };
        describe(&writes);
        let predictions: Vec<_> = writes.iter().flat_map(|write| &write.predictions).collect();
        let body = BulkBody::new(predictions.iter().copied());
        let deadline = Instant::now() + self.cluster.timeout;
        let sent = async {
            let mut results = self.send(&first.call, &body, deadline).await;
            self.replace_wrong(&predictions, &mut results, deadline)
                .await;
            results
        };
        let results = sent.with_span(&first.call.span).await;
        log_superseded(&results);
        let mut results = results.into_iter();
        for write in writes {
            let items: Vec<_> = results.by_ref().take(write.predictions.len()).collect();
            if let Some(error) = items.iter().find_map(|item| item.as_ref().err()) {
                write.call.span.fail(error, error.error_type());
            }
            // The span ends before the request that waits for it.
            drop(write.call);
            drop(write.done.send(items));
        }
    }

    /// Sends all items, then again those that failed for a transient reason, while there is time.
    async fn send(&self, call: &ClientCall, body: &BulkBody, deadline: Instant) -> Vec<ItemResult> {
        let mut results = vec![Err(StoreError::TimedOut); body.len()];
        let mut open: Vec<usize> = (0..body.len()).collect();
        let (mut tries, mut retries) = (0, 0);
        loop {
            let HttpExchange { result, mut facts } =
                self.send_once(call, body.select(&open), deadline).await;
            retries += facts.retries;
            match result
                .map_err(StoreError::from)
                .and_then(|answer| items(open.len(), &answer))
            {
                Ok(items) => open = self.settle(&open, items, &mut results),
                Err(error) => {
                    for at in open.drain(..) {
                        results[at] = Err(error.clone());
                    }
                }
            }
            if open.is_empty() || tries >= self.retries || !backoff(tries, deadline).await {
                facts.retries = retries;
                facts.record_on(&call.span);
                return results;
            }
            tries += 1;
            retries += 1;
        }
    }

    async fn send_once(&self, call: &ClientCall, body: Bytes, deadline: Instant) -> HttpExchange {
        match self.index.ensure(&self.cluster, deadline).await {
            Ok(()) => {
                self.cluster
                    .send(&self.endpoint, &call.origin(), body, deadline)
                    .await
            }
            Err(error) => error.into(),
        }
    }

    /// Enters the results of the open items and returns those to try again.
    fn settle(
        &self,
        open: &[usize],
        items: Vec<ItemOutcome>,
        results: &mut [ItemResult],
    ) -> Vec<usize> {
        let mut again = Vec::new();
        for (at, outcome) in open.iter().zip(items) {
            results[*at] = match outcome {
                ItemOutcome::Done => Ok(Written::Stored),
                ItemOutcome::Needless => Ok(Written::Superseded),
                ItemOutcome::Failed(error) => {
                    if error.is_missing_index() {
                        self.index.forget();
                    }
                    if error.is_transient() || error.is_missing_index() {
                        again.push(*at);
                    }
                    Err(error.into())
                }
            };
        }
        again
    }
}

impl Queue {
    /// Adds a write; true if the caller has to start a task that sends it.
    fn push(&mut self, write: QueuedWrite) -> bool {
        self.writes.push_back(write);
        !std::mem::replace(&mut self.running, true)
    }

    /// Takes the writes of the next bulk; none if the queue is empty.
    fn next_bulk(&mut self) -> Vec<QueuedWrite> {
        let (mut writes, mut count) = (Vec::new(), 0);
        // Writes whose callers left, of which there are many in an outage, were reported as not
        // stored.
        self.writes.retain(|write| !write.done.is_closed());
        while let Some(write) = self
            .writes
            .pop_front_if(|write| count == 0 || count + write.predictions.len() <= FULL)
        {
            count += write.predictions.len();
            writes.push(write);
        }
        self.running = !writes.is_empty();
        writes
    }
}

fn log_superseded(results: &[ItemResult]) {
    let superseded = |result: &&ItemResult| matches!(result, Ok(Written::Superseded));
    let older = results.iter().filter(superseded).count();
    if older > 0 {
        tracing::debug!(name: "prediction_store.older", predictions = older, "{older} predictions were not stored, since newer ones are");
    }
}

/// Records sizes and links on the spans of the writes.
fn describe(writes: &[QueuedWrite]) {
    let Some((first, others)) = writes.split_first() else {
        return;
    };
    let all = writes.iter().map(|write| write.predictions.len()).sum();
    first.call.span.set_batch_size(all);
    if others.is_empty() {
        return;
    }
    for request in writes.iter().filter_map(|write| write.request.as_ref()) {
        first
            .call
            .span
            .in_scope(|| telemetry::current().add_link(request));
    }
    let shared = first.call.span.span_ref();
    for other in others {
        other.call.span.set_batch_size(other.predictions.len());
        if let Some(shared) = &shared {
            other
                .call
                .span
                .in_scope(|| telemetry::current().add_link(shared));
        }
    }
}
