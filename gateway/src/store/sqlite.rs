//! Predictions in one `SQLite` file: this file and its folder are the only place that names `rusqlite`.
//!
//! The file is in WAL mode, so that a few readers and one writer do not wait for each other. Writes of concurrent requests
//! join one transaction, and each is acknowledged only after it is committed. With `synchronous=NORMAL` a commit outlives
//! the process; a power cut may take the last moments, which the models can compute again.

mod schema;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::types::{ToSql, Type};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params, params_from_iter};
use telemetry::db::{self, DbSpan};
use telemetry::{KeyValue, SpanRef, WithSpan, attr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use self::schema::SCHEMA_VERSION;
use super::{Key, Lookup, LookupPart, Page, PredictionStore, Search, StoreError, StoredPrediction};

/// Readers that may be busy at once; one more would only wait for the same two or three cores.
const READERS: usize = 4;
/// A lookup of so few ids is done in memory in less time than it takes to wake another thread for it, which was measured to
/// be a third of the whole cost of a hit; a longer one goes to the blocking pool.
const SHORT_LOOKUP: usize = 4;
/// Two processes on one file are a mistake that `throughline up` refuses; a backup tool may still hold a lock for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Readers hardly ever meet a lock in WAL mode, and a short lookup must not wait for one on a thread that others need.
const READ_BUSY_TIMEOUT: Duration = Duration::from_millis(50);
const TABLE: &str = "predictions";
const COLUMNS: &str = "model, variant, version, data_id, label, confidence, probabilities, computed_at, trace_id, span_id, run_id";
const GET: &str =
    "SELECT model, variant, version, data_id, label, confidence, probabilities, computed_at, trace_id, span_id, run_id
    FROM predictions WHERE model = ?1 AND variant = ?2 AND version = ?3 AND data_id = ?4";
const PUT: &str = "
    INSERT INTO predictions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT DO UPDATE SET label = excluded.label, confidence = excluded.confidence,
        probabilities = excluded.probabilities, computed_at = excluded.computed_at, trace_id = excluded.trace_id,
        span_id = excluded.span_id, run_id = excluded.run_id
    WHERE excluded.computed_at >= predictions.computed_at";

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder of the file cannot be made.
    #[error("cannot make the folder of the prediction store {}", path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `SQLite` refuses the file.
    #[error("cannot open the prediction store {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A later Throughline wrote the file.
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
    readers: Arc<Readers>,
    writer: Arc<Writer>,
}

impl SqliteStore {
    /// Opens the file, or makes it with its folder. It blocks: call it before requests are answered.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder).map_err(|source| OpenError::Folder {
                path: path.to_owned(),
                source,
            })?;
        }
        let refused = |source| OpenError::File {
            path: path.to_owned(),
            source,
        };
        let writer = connect(path).map_err(refused)?;
        let found = schema::prepare(&writer).map_err(refused)?;
        if found > SCHEMA_VERSION {
            return Err(OpenError::Schema {
                path: path.to_owned(),
                found,
            });
        }
        let reader = || {
            connect(path).and_then(|reader| reader.busy_timeout(READ_BUSY_TIMEOUT).map(|()| reader))
        };
        let readers = (0..READERS)
            .map(|_| reader())
            .collect::<Result<Vec<_>, _>>()
            .map_err(refused)?;
        let readers = Readers {
            idle: Mutex::new(readers),
            permits: Arc::new(Semaphore::new(READERS)),
        };
        Ok(Self {
            readers: Arc::new(readers),
            writer: Arc::new(Writer::new(writer)),
        })
    }

    /// Runs `query` on a reader in the blocking pool, in the span of a SELECT.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let span = start("SELECT", 1);
        let reader = Readers::wait(&self.readers).await?;
        let work = telemetry::task::spawn_blocking(move || reader.run(query));
        finish(&span, work.await.unwrap_or(Err(StoreError::Closed)))
    }
}

#[async_trait]
impl PredictionStore for SqliteStore {
    async fn get_many(&self, lookup: Lookup) -> Result<Vec<Option<StoredPrediction>>, StoreError> {
        if lookup.len() <= SHORT_LOOKUP
            && let Some(reader) = Readers::at_once(&self.readers)
        {
            let span = start("SELECT", 1);
            return finish(&span, reader.run(|connection| look_up(connection, lookup)));
        }
        self.read(|connection| look_up(connection, lookup)).await
    }

    async fn put_many(
        &self,
        predictions: Vec<StoredPrediction>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let span = start("INSERT", predictions.len());
        let result = self.writer.submit(predictions).with_span(&span).await;
        if let Ok(Some(error)) = result
            .as_ref()
            .map(|items| items.iter().find_map(|item| item.as_ref().err()))
        {
            span.fail(error, error.error_type());
        }
        finish(&span, result)
    }

    async fn search(&self, search: Search) -> Result<Page, StoreError> {
        self.read(move |connection| run_search(connection, &search))
            .await
    }

    async fn latest_version(
        &self,
        model: &str,
        variant: &str,
    ) -> Result<Option<String>, StoreError> {
        let key = [model.to_owned(), variant.to_owned()];
        self.read(move |connection| {
            // The index by time knows no variants. Where a variant has nothing at all, it is not walked in vain.
            let any = "SELECT 1 FROM predictions WHERE model = ?1 AND variant = ?2";
            if !connection.prepare_cached(any)?.exists(params![key[0], key[1]])? {
                return Ok(None);
            }
            let newest =
                "SELECT version FROM predictions WHERE model = ?1 AND variant = ?2 ORDER BY computed_at DESC LIMIT 1";
            connection.prepare_cached(newest)?.query_row(key, |row| row.get(0)).optional()
        })
        .await
    }

    async fn remove_older(&self, before: Timestamp) -> Result<u64, StoreError> {
        let span = start("DELETE", 1);
        let writer = Arc::clone(&self.writer);
        let work = telemetry::task::spawn_blocking(move || {
            let connection = lock(&writer.connection);
            connection.execute(
                "DELETE FROM predictions WHERE computed_at < ?1",
                [before.as_microsecond()],
            )
        });
        let result = work.with_span(&span).await.map_err(|_| StoreError::Closed);
        let result = result.and_then(|removed| removed.map_err(StoreError::from));
        finish(&span, result.map(|removed| removed as u64))
    }
}

#[derive(Debug)]
struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

/// A connection on loan. It goes back when the work is over, and not when the caller leaves, who may do so earlier.
struct Reader {
    connection: Option<Connection>,
    readers: Arc<Readers>,
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    async fn wait(this: &Arc<Self>) -> Result<Reader, StoreError> {
        let permit = Arc::clone(&this.permits)
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        Ok(this.lend(permit))
    }

    /// A reader, if one is idle just now.
    fn at_once(this: &Arc<Self>) -> Option<Reader> {
        let permit = Arc::clone(&this.permits).try_acquire_owned().ok()?;
        Some(this.lend(permit))
    }

    fn lend(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Reader {
        Reader {
            connection: lock(&self.idle).pop(),
            readers: Arc::clone(self),
            _permit: permit,
        }
    }
}

impl Reader {
    fn run<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StoreError> {
        // A permit stands for an idle connection, so there always is one.
        let connection = self.connection.as_ref().ok_or(StoreError::Closed)?;
        query(connection).map_err(StoreError::from)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            lock(&self.readers.idle).push(connection);
        }
    }
}

/// The one writing connection, and the writes that wait for it.
#[derive(Debug)]
struct Writer {
    connection: Mutex<Connection>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: Vec<Job>,
    running: bool,
}

type ItemResults = Result<Vec<Result<(), StoreError>>, StoreError>;

#[derive(Debug)]
struct Job {
    predictions: Vec<StoredPrediction>,
    done: oneshot::Sender<ItemResults>,
}

impl Writer {
    fn new(connection: Connection) -> Self {
        Self {
            connection: Mutex::new(connection),
            waiting: Mutex::default(),
        }
    }

    async fn submit(self: &Arc<Self>, predictions: Vec<StoredPrediction>) -> ItemResults {
        let (done, committed) = oneshot::channel();
        let was_running = {
            let mut waiting = lock(&self.waiting);
            waiting.jobs.push(Job { predictions, done });
            std::mem::replace(&mut waiting.running, true)
        };
        if !was_running {
            let this = Arc::clone(self);
            // Nobody joins it: every job hears of its commit by its own channel.
            drop(telemetry::task::spawn_blocking(move || this.run()));
        }
        committed.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Writes whatever waits, one transaction for all that came in the meantime, until nothing waits.
    fn run(&self) {
        loop {
            let jobs = {
                let mut waiting = lock(&self.waiting);
                if waiting.jobs.is_empty() {
                    waiting.running = false;
                    return;
                }
                std::mem::take(&mut waiting.jobs)
            };
            let written = commit(&mut lock(&self.connection), &jobs);
            match written {
                Ok(results) => jobs
                    .into_iter()
                    .zip(results)
                    .for_each(|(job, items)| drop(job.done.send(Ok(items)))),
                // The error has no copy; each job gets the engine's word and text.
                Err(error) => jobs
                    .into_iter()
                    .for_each(|job| drop(job.done.send(Err(StoreError::from(&error))))),
            }
        }
    }
}

/// One transaction; a prediction that the engine refuses does not take the others with it.
fn commit(
    connection: &mut Connection,
    jobs: &[Job],
) -> Result<Vec<Vec<Result<(), StoreError>>>, rusqlite::Error> {
    let transaction = connection.transaction()?;
    let results = {
        let mut statement = transaction.prepare_cached(PUT)?;
        let mut put = |prediction: &StoredPrediction| match insert(&mut statement, prediction) {
            // Only a constraint is about the one prediction; anything else is about the file and ends the transaction.
            Err(error) if error.sqlite_error_code() != Some(ErrorCode::ConstraintViolation) => {
                Err(error)
            }
            result => Ok(result.map_err(StoreError::from)),
        };
        let results: Result<Vec<Vec<_>>, _> = jobs
            .iter()
            .map(|job| job.predictions.iter().map(&mut put).collect())
            .collect();
        results?
    };
    transaction.commit()?;
    Ok(results)
}

/// The predictions of a lookup, all as of one moment: in one transaction, which also takes the lock of the file only once.
fn look_up(
    connection: &Connection,
    lookup: Lookup,
) -> Result<Vec<Option<StoredPrediction>>, rusqlite::Error> {
    let together = (lookup.len() > 1)
        .then(|| connection.unchecked_transaction())
        .transpose()?;
    let mut statement = connection.prepare_cached(GET)?;
    let Lookup { model, parts } = lookup;
    let mut found = Vec::new();
    for LookupPart {
        variant,
        version,
        data_ids,
    } in parts
    {
        for data_id in data_ids {
            found.push(
                statement
                    .query_row(params![model, variant, version, data_id], read_row)
                    .optional()?,
            );
        }
    }
    drop(statement);
    together.map_or(Ok(()), rusqlite::Transaction::finish)?;
    Ok(found)
}

fn insert(
    statement: &mut rusqlite::Statement<'_>,
    prediction: &StoredPrediction,
) -> Result<(), rusqlite::Error> {
    let by = prediction.computed_by.as_ref();
    let probabilities: Vec<u8> = prediction
        .probabilities
        .iter()
        .flat_map(|p| p.to_le_bytes())
        .collect();
    statement.execute(params![
        prediction.key.model,
        prediction.key.variant,
        prediction.key.version,
        prediction.key.data_id,
        prediction.label,
        f64::from(prediction.confidence),
        probabilities,
        prediction.computed_at.as_microsecond(),
        by.map(|by| &by.trace_id),
        by.map(|by| &by.span_id),
        prediction.run_id,
    ])?;
    Ok(())
}

fn run_search(connection: &Connection, search: &Search) -> Result<Page, rusqlite::Error> {
    let mut clauses: Vec<&str> = Vec::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut narrow = |clause, value: Option<Box<dyn ToSql>>| {
        if let Some(value) = value {
            clauses.push(clause);
            values.push(value);
        }
    };
    let text =
        |value: &Option<String>| value.clone().map(|value| Box::new(value) as Box<dyn ToSql>);
    narrow("model = ?", text(&search.model));
    narrow("label = ?", text(&search.label));
    narrow("variant = ?", text(&search.variant));
    narrow(
        "confidence >= ?",
        search
            .min_confidence
            .map(|least| Box::new(f64::from(least)) as _),
    );
    narrow(
        "computed_at >= ?",
        search
            .since
            .map(|since| Box::new(since.as_microsecond()) as _),
    );
    if let Some(after) = &search.after {
        let at = after.computed_at.as_microsecond();
        // The first comparison lets the index by time find the place; the rest breaks ties.
        clauses.push("computed_at <= ? AND (computed_at < ? OR (model, variant, version, data_id) > (?, ?, ?, ?))");
        let Key {
            model,
            variant,
            version,
            data_id,
        } = after.key.clone();
        values.extend([
            Box::new(at) as Box<dyn ToSql>,
            Box::new(at),
            Box::new(model),
            Box::new(variant),
            Box::new(version),
            Box::new(data_id),
        ]);
    }
    let filter = if clauses.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", clauses.join(" AND "))
    };
    // One more than asked for tells whether there is a next page.
    values.push(Box::new(
        i64::try_from(search.limit).unwrap_or(i64::MAX - 1) + 1,
    ));
    let order = "ORDER BY computed_at DESC, model, variant, version, data_id LIMIT ?";
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM {TABLE} {filter} {order}"))?;
    let rows = statement.query_map(params_from_iter(values), read_row)?;
    let mut predictions = rows.collect::<Result<Vec<_>, _>>()?;
    let more = predictions.len() > search.limit;
    predictions.truncate(search.limit);
    let next = predictions
        .last()
        .filter(|_| more)
        .map(StoredPrediction::position);
    Ok(Page { predictions, next })
}

fn read_row(row: &Row<'_>) -> Result<StoredPrediction, rusqlite::Error> {
    let ids: (Option<String>, Option<String>) = (row.get(8)?, row.get(9)?);
    let probabilities = row.get_ref(6)?.as_blob()?.chunks_exact(4);
    let unreadable =
        || rusqlite::Error::InvalidColumnType(7, "computed_at".to_owned(), Type::Integer);
    Ok(StoredPrediction {
        key: Key {
            model: row.get(0)?,
            variant: row.get(1)?,
            version: row.get(2)?,
            data_id: row.get(3)?,
        },
        label: row.get(4)?,
        confidence: row.get::<_, f64>(5)? as f32,
        probabilities: probabilities
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect(),
        computed_at: Timestamp::from_microsecond(row.get(7)?).map_err(|_| unreadable())?,
        computed_by: ids
            .0
            .zip(ids.1)
            .and_then(|(trace, span)| SpanRef::parse(&trace, &span)),
        run_id: row.get(10)?,
    })
}

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    Ok(connection)
}

fn start(operation: &'static str, batch: usize) -> DbSpan {
    let operation = db::Operation {
        system: "sqlite",
        operation,
        collection: TABLE.to_owned(),
        namespace: None,
    };
    match i64::try_from(batch) {
        // By the conventions a batch of one is no batch.
        Ok(size) if size > 1 => db::start_with(
            operation,
            vec![KeyValue::new(attr::DB_OPERATION_BATCH_SIZE, size)],
        ),
        _ => db::start(operation),
    }
}

fn finish<T>(span: &DbSpan, result: Result<T, StoreError>) -> Result<T, StoreError> {
    if let Err(error) = &result {
        span.fail(error, error.error_type());
    }
    result
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..) => {
                Self::Unreadable { what: "a column" }
            }
            other => Self::Engine {
                error_type: error_type(&other),
                source: Box::new(other),
            },
        }
    }
}

impl From<&rusqlite::Error> for StoreError {
    fn from(error: &rusqlite::Error) -> Self {
        Self::Engine {
            error_type: error_type(error),
            source: error.to_string().into(),
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
