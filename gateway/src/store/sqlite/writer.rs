//! The one writing connection: writes of concurrent requests join one transaction.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::statements;
use crate::store::{StoreError, StoredPrediction, Written};

/// Predictions that are removed in one transaction, in some hundredths of a second. All of a large
/// table at once would hold up every write for many seconds, and grow the log to the size of the table.
const REMOVED_AT_ONCE: usize = 1_000;

/// The connection, and the writes that wait for it.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Mutex<Connection>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    writes: Vec<QueuedWrite>,
    /// Whether a thread is committing what is queued.
    running: bool,
}

/// One result for each prediction of a write.
type WriteResult = Result<Vec<Result<Written, StoreError>>, StoreError>;

#[derive(Debug)]
struct QueuedWrite {
    predictions: Vec<StoredPrediction>,
    done: oneshot::Sender<WriteResult>,
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection: Mutex::new(connection),
            queue: Mutex::default(),
        }
    }

    /// Stores the predictions with the next transaction and returns when it is committed.
    pub(super) async fn submit(
        self: &Arc<Self>,
        predictions: Vec<StoredPrediction>,
    ) -> WriteResult {
        let (done, stored) = oneshot::channel();
        let was_running = {
            let mut queue = self.queue.lock();
            queue.writes.push(QueuedWrite { predictions, done });
            std::mem::replace(&mut queue.running, true)
        };
        if !was_running {
            let this = Arc::clone(self);
            // Nobody joins it: every write gets its result through its own channel.
            drop(telemetry::task::spawn_blocking(move || this.run()));
        }
        stored.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Deletes piece by piece, and lets the writes that wait go between two of them.
    pub(super) fn remove_older(&self, before: Timestamp) -> rusqlite::Result<usize> {
        let mut removed = 0;
        loop {
            let connection = self.connection.lock();
            let piece = statements::remove_older(&connection, before, REMOVED_AT_ONCE)?;
            // Else this thread would have it again before a waiting one is awake.
            MutexGuard::unlock_fair(connection);
            removed += piece;
            if piece < REMOVED_AT_ONCE {
                return Ok(removed);
            }
        }
    }

    /// Commits what is queued, one transaction for all that came in the meantime, until the queue
    /// is empty.
    fn run(&self) {
        loop {
            let writes = {
                let mut queue = self.queue.lock();
                if queue.writes.is_empty() {
                    queue.running = false;
                    return;
                }
                std::mem::take(&mut queue.writes)
            };
            let committed = commit(&mut self.connection.lock(), &writes);
            match committed.map_err(StoreError::from) {
                Ok(results) => {
                    for (write, result) in writes.into_iter().zip(results) {
                        drop(write.done.send(Ok(result)));
                    }
                }
                Err(error) => {
                    for write in writes {
                        drop(write.done.send(Err(error.clone())));
                    }
                }
            }
        }
    }
}

/// Stores all writes in one transaction. A prediction that violates a constraint does not affect
/// the others.
fn commit(
    connection: &mut Connection,
    writes: &[QueuedWrite],
) -> rusqlite::Result<Vec<Vec<Result<Written, StoreError>>>> {
    let transaction = connection.transaction()?;
    let mut statement = transaction.prepare_cached(statements::PUT)?;
    let mut put = |prediction| match statements::insert(&mut statement, prediction) {
        // Any other error concerns the file and ends the transaction.
        Err(error) if error.sqlite_error_code() != Some(ErrorCode::ConstraintViolation) => {
            Err(error)
        }
        result => Ok(result.map_err(StoreError::from)),
    };
    let results = writes
        .iter()
        .map(|write| write.predictions.iter().map(&mut put).collect())
        .collect::<Result<_, _>>()?;
    drop(statement);
    transaction.commit()?;
    Ok(results)
}
