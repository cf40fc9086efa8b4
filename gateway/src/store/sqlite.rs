//! Predictions in one `SQLite` file.
//!
//! The file is in WAL mode, so that readers and the writer do not wait for each other. With
//! `synchronous=NORMAL` an acknowledged write outlives the process; a power cut can lose the last
//! moments, which the models can compute again.

mod schema;
mod statements;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool::unmanaged::{Object, Pool};
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};
use telemetry::WithSpan;
use telemetry::db::{self, DbSpan};

use self::schema::SCHEMA_VERSION;
use self::writer::Writer;
use super::{Lookup, Page, PredictionStore, Search, StoreError, StoredPrediction, Written};

/// Connections that read at the same time; more would only compete for the same cores.
const READERS: usize = 4;
/// A lookup of at most so many ids runs on the async thread: waking a thread of the blocking pool
/// for it was measured to be a third of the cost of a hit.
const SHORT_LOOKUP: usize = 4;
/// Only a backup tool ever holds a lock beside us: `throughline up` refuses to run twice on one
/// file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// In WAL mode a reader hardly ever meets a lock, and a short lookup must not block an async thread
/// for long.
const READ_BUSY_TIMEOUT: Duration = Duration::from_millis(50);
const TABLE: &str = "predictions";

/// The file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder of the file cannot be created.
    #[error("cannot make the folder of the prediction store {}", path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// `SQLite` refuses the file.
    #[error("cannot open the prediction store {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// A later release wrote the file.
    #[error("the prediction store {} has schema {found}, this program knows {SCHEMA_VERSION}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
    },
}

/// Predictions in one file.
#[derive(Debug)]
pub(crate) struct SqliteStore {
    readers: Pool<Connection>,
    writer: Arc<Writer>,
}

impl SqliteStore {
    /// Opens the file, or creates it with its folder. It blocks: call it before requests are
    /// answered.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| OpenError::Folder {
                path: path.to_owned(),
                source,
            })?;
        }
        let refused = |source| OpenError::File {
            path: path.to_owned(),
            source,
        };
        let writer = connect(path, BUSY_TIMEOUT).map_err(refused)?;
        let found = schema::prepare(&writer).map_err(refused)?;
        if found > SCHEMA_VERSION {
            return Err(OpenError::Schema {
                path: path.to_owned(),
                found,
            });
        }
        let readers = (0..READERS)
            .map(|_| connect(path, READ_BUSY_TIMEOUT))
            .collect::<Result<Vec<_>, _>>()
            .map_err(refused)?;
        Ok(Self {
            readers: Pool::from(readers),
            writer: Arc::new(Writer::new(writer)),
        })
    }

    /// Runs `query` on the blocking pool with the next free reader, in the span of a SELECT.
    ///
    /// The reader moves into the work, so that it stays taken until the work ends, even if the
    /// caller leaves earlier.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let span = start("SELECT", 1);
        let reader = self.readers.get().await.map_err(|_| StoreError::Closed)?;
        let work = telemetry::task::spawn_blocking(move || query(&reader));
        finish(&span, flatten(work.await))
    }

    /// A reader that is free now, for a lookup that is short enough for the async thread.
    fn reader_for_short(&self, lookup: &Lookup) -> Option<Object<Connection>> {
        if lookup.len() > SHORT_LOOKUP {
            return None;
        }
        self.readers.try_get().ok()
    }
}

#[async_trait]
impl PredictionStore for SqliteStore {
    async fn get_many(&self, lookup: Lookup) -> Result<Vec<Option<StoredPrediction>>, StoreError> {
        if let Some(reader) = self.reader_for_short(&lookup) {
            let span = start("SELECT", 1);
            let found = statements::look_up(&reader, &lookup).map_err(StoreError::from);
            return finish(&span, found);
        }
        self.read(move |connection| statements::look_up(connection, &lookup))
            .await
    }

    async fn put_many(
        &self,
        predictions: Vec<StoredPrediction>,
    ) -> Result<Vec<Result<Written, StoreError>>, StoreError> {
        let span = start("INSERT", predictions.len());
        let result = self.writer.submit(predictions).with_span(&span).await;
        if let Ok(items) = &result
            && let Some(error) = items.iter().find_map(|item| item.as_ref().err())
        {
            span.fail(error, error.error_type());
        }
        finish(&span, result)
    }

    async fn search(&self, search: Search) -> Result<Page, StoreError> {
        self.read(move |connection| statements::search(connection, &search))
            .await
    }

    async fn latest_version(
        &self,
        model: &str,
        variant: &str,
    ) -> Result<Option<String>, StoreError> {
        let (model, variant) = (model.to_owned(), variant.to_owned());
        self.read(move |connection| statements::latest_version(connection, &model, &variant))
            .await
    }

    async fn remove_older(&self, before: Timestamp) -> Result<u64, StoreError> {
        let span = start("DELETE", 1);
        let writer = Arc::clone(&self.writer);
        let work = telemetry::task::spawn_blocking(move || writer.remove_older(before));
        let removed = flatten(work.with_span(&span).await);
        finish(&span, removed.map(|removed| removed as u64))
    }
}

fn connect(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    // Setting the journal mode may have to wait for another connection.
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.busy_timeout(busy_timeout)?;
    Ok(connection)
}

fn start(operation: &'static str, batch: usize) -> DbSpan {
    let operation = db::Operation {
        system: "sqlite",
        operation,
        collection: TABLE.to_owned(),
        namespace: None,
    };
    db::start_with(operation, db::batch_size(batch).into_iter().collect())
}

/// Records a failure on the span of the call.
fn finish<T>(span: &DbSpan, result: Result<T, StoreError>) -> Result<T, StoreError> {
    if let Err(error) = &result {
        span.fail(error, error.error_type());
    }
    result
}

/// The result of blocking work; `Closed` if the runtime stopped before it ran.
fn flatten<T>(
    joined: Result<rusqlite::Result<T>, tokio::task::JoinError>,
) -> Result<T, StoreError> {
    joined.map_err(|_| StoreError::Closed)?.map_err(Into::into)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..) => {
                Self::Unreadable { what: "a column" }
            }
            other => Self::engine(error_type(&other), other),
        }
    }
}

/// `SQLite`'s own name of an error.
fn error_type(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => "SQLITE_BUSY",
        Some(ErrorCode::DatabaseLocked) => "SQLITE_LOCKED",
        Some(ErrorCode::DatabaseCorrupt) => "SQLITE_CORRUPT",
        Some(ErrorCode::NotADatabase) => "SQLITE_NOTADB",
        Some(ErrorCode::DiskFull) => "SQLITE_FULL",
        Some(ErrorCode::ReadOnly) => "SQLITE_READONLY",
        Some(ErrorCode::SystemIoFailure) => "SQLITE_IOERR",
        Some(ErrorCode::CannotOpen) => "SQLITE_CANTOPEN",
        Some(ErrorCode::ConstraintViolation) => "SQLITE_CONSTRAINT",
        _ => "SQLITE_ERROR",
    }
}
