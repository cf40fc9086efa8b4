//! Features in one `SQLite` file, one table for each view.
//!
//! The file is in WAL mode, so that reads never wait for a write. With `synchronous=FULL` an
//! acknowledged write survives a power cut: unlike a prediction, a feature cannot be computed
//! again.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deadpool::unmanaged::{Object, Pool};
use parking_lot::RwLock;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OptionalExtension, ToSql, TransactionBehavior};
use telemetry::task::spawn_blocking;

use super::{BackendError, Call, Engine, EntityKey, FeatureBackend, Pending, Row, Written};
use crate::time::EventTime;
use crate::value::{Dtype, FeatureValue};
use crate::views::{FeatureView, Views};

/// Features in one `SQLite` file.
#[derive(Debug)]
pub struct SqliteBackend {
    /// By the view's id.
    statements: RwLock<HashMap<usize, Arc<Statements>>>,
    readers: Pool<Connection>,
    /// A pool of one, so that writes take turns.
    writer: Pool<Connection>,
}

/// Connections that read at the same time. A lookup takes microseconds, so a few keep several cores
/// busy.
const READERS: usize = 4;

/// How long a write waits for the writer of another process, such as `feature-store materialize`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The table of marks; no view's name begins with two underscores.
const MARKS: &str = "CREATE TABLE IF NOT EXISTS __marks (name TEXT PRIMARY KEY NOT NULL, mark TEXT NOT NULL) WITHOUT ROWID";

impl SqliteBackend {
    /// Opens the file or creates it with its folder, and adds the tables and columns that `views`
    /// needs.
    pub fn open(path: &Path, views: &Views) -> Result<Self, BackendError> {
        let io = |source: std::io::Error| BackendError {
            action: "create the folder of the database",
            error_type: "SQLITE_CANTOPEN",
            transient: false,
            status_code: None,
            source: Box::new(source),
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let writer = connect(path, views).map_err(failed("open the database"))?;
        writer
            .execute_batch(MARKS)
            .map_err(failed("prepare the tables"))?;
        for view in views.all() {
            create_table(&writer, view).map_err(failed("prepare the tables"))?;
        }
        let readers = (0..READERS)
            .map(|_| connect_reader(path, views))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed("open the database"))?;
        let statements = |view: &Arc<FeatureView>| (view.id, Arc::new(Statements::new(view)));
        Ok(Self {
            statements: RwLock::new(views.all().iter().map(statements).collect()),
            readers: Pool::from(readers),
            writer: Pool::from([writer]),
        })
    }

    fn statements(&self, view: &FeatureView) -> Arc<Statements> {
        // A view that this file was not opened with gets its statements here and then fails at the
        // missing table.
        self.statements
            .read()
            .get(&view.id)
            .map_or_else(|| Arc::new(Statements::new(view)), Arc::clone)
    }
}

impl FeatureBackend for SqliteBackend {
    fn engine(&self) -> Engine {
        Engine {
            system: "sqlite",
            // One statement, however many rows.
            read: Call {
                one: "SELECT",
                batch: "SELECT",
            },
            write: Call {
                one: "INSERT",
                batch: "INSERT",
            },
        }
    }

    fn prepare<'a>(&'a self, view: &'a Arc<FeatureView>) -> Pending<'a, ()> {
        let new = Arc::clone(view);
        let create = run(&self.writer, "prepare the tables", move |connection| {
            create_table(connection, &new)
        });
        Box::pin(async move {
            create.await?;
            let statements = Arc::new(Statements::new(view));
            self.statements.write().insert(view.id, statements);
            Ok(())
        })
    }

    fn check<'a>(&'a self, view: &'a Arc<FeatureView>) -> Pending<'a, ()> {
        let checked = Arc::clone(view);
        let columns = run(&self.readers, "check the table", move |connection| {
            columns(connection, &checked)
        });
        Box::pin(async move { Ok(check_columns(view, &columns.await?)?) })
    }

    fn mark<'a>(&'a self, name: &'a str) -> Pending<'a, Option<String>> {
        let name = name.to_owned();
        let select = "SELECT mark FROM __marks WHERE name = ?1";
        Box::pin(run(&self.readers, "read the mark", move |connection| {
            connection
                .query_row(select, [name], |row| row.get(0))
                .optional()
        }))
    }

    fn set_mark<'a>(&'a self, name: &'a str, text: Option<String>) -> Pending<'a, ()> {
        let name = name.to_owned();
        let write = move |connection: &mut Connection| match text {
            Some(text) => connection.execute(
                "REPLACE INTO __marks (name, mark) VALUES (?1, ?2)",
                [name, text],
            ),
            None => connection.execute("DELETE FROM __marks WHERE name = ?1", [name]),
        };
        Box::pin(async {
            run(&self.writer, "write the mark", write).await?;
            Ok(())
        })
    }

    fn read<'a>(
        &'a self,
        view: &'a Arc<FeatureView>,
        keys: &'a [EntityKey],
    ) -> Pending<'a, Vec<Option<Row>>> {
        let (view, statements, keys) = (Arc::clone(view), self.statements(view), keys.to_vec());
        Box::pin(run(&self.readers, "read features", move |connection| {
            select(connection, &view, &statements, &keys)
        }))
    }

    fn write<'a>(
        &'a self,
        view: &'a Arc<FeatureView>,
        rows: Vec<(EntityKey, Row)>,
    ) -> Pending<'a, Written> {
        let statements = self.statements(view);
        Box::pin(run(&self.writer, "write features", move |connection| {
            upsert(connection, &statements, &rows)
        }))
    }

    fn delete<'a>(&'a self, view: &'a Arc<FeatureView>, keys: &'a [EntityKey]) -> Pending<'a, u64> {
        let (statements, keys) = (self.statements(view), keys.to_vec());
        Box::pin(run(&self.writer, "delete features", move |connection| {
            let list: Vec<&str> = keys.iter().map(EntityKey::as_str).collect();
            let list = serde_json::Value::from(list).to_string();
            let deleted = connection.execute(&statements.delete, [list])?;
            Ok(deleted as u64)
        }))
    }
}

/// Runs `work` on the blocking pool with the next free connection of `pool`.
///
/// The connection moves into the work, so that it stays taken until the work ends, even if the
/// caller leaves earlier.
async fn run<T: Send + 'static>(
    pool: &Pool<Connection>,
    action: &'static str,
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, BackendError> {
    let mut connection: Object<Connection> =
        pool.get().await.map_err(|error| aborted(action, error))?;
    spawn_blocking(move || work(&mut connection))
        .await
        .map_err(|error| aborted(action, error))?
        .map_err(failed(action))
}

/// The statements of one view. None depends on the request, so each is prepared once per
/// connection.
#[derive(Debug)]
struct Statements {
    select_one: String,
    select_many: String,
    upsert: String,
    delete: String,
}

impl Statements {
    fn new(view: &FeatureView) -> Self {
        let table = quote(&view.name);
        let mut columns = String::new();
        let mut updates = String::new();
        let mut holes = String::new();
        for (at, feature) in view.features.iter().enumerate() {
            let column = quote(&feature.name);
            // Writing into a String cannot fail.
            let _ = write!(columns, ", {column}");
            let _ = write!(updates, ", {column} = excluded.{column}");
            let _ = write!(holes, ", ?{}", at + 3);
        }
        let select =
            format!("SELECT __entity_key, __event_time{columns} FROM {table} WHERE __entity_key");
        Self {
            select_one: format!("{select} = ?1"),
            select_many: format!("{select} IN (SELECT value FROM json_each(?1))"),
            upsert: format!(
                "INSERT INTO {table} (__entity_key, __event_time{columns}) VALUES (?1, ?2{holes})
                 ON CONFLICT (__entity_key) DO UPDATE SET __event_time = excluded.__event_time{updates}
                 WHERE excluded.__event_time >= __event_time"
            ),
            delete: format!(
                "DELETE FROM {table} WHERE __entity_key IN (SELECT value FROM json_each(?1))"
            ),
        }
    }
}

fn select(
    connection: &Connection,
    view: &FeatureView,
    statements: &Statements,
    keys: &[EntityKey],
) -> Result<Vec<Option<Row>>, rusqlite::Error> {
    if let [key] = keys {
        let mut statement = connection.prepare_cached(&statements.select_one)?;
        return Ok(vec![
            statement
                .query_row([key.as_str()], |row| read_row(view, row))
                .optional()?,
        ]);
    }
    let list: Vec<&str> = keys.iter().map(EntityKey::as_str).collect();
    let list = serde_json::Value::from(list).to_string();
    let mut statement = connection.prepare_cached(&statements.select_many)?;
    let mut rows = statement.query([list])?;
    let mut found: HashMap<Box<str>, Row> = HashMap::with_capacity(keys.len());
    while let Some(row) = rows.next()? {
        found.insert(row.get(0)?, read_row(view, row)?);
    }
    Ok(keys
        .iter()
        .map(|key| found.get(key.as_str()).cloned())
        .collect())
}

fn upsert(
    connection: &mut Connection,
    statements: &Statements,
    rows: &[(EntityKey, Row)],
) -> Result<Written, rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut written = Written::default();
    {
        let mut statement = transaction.prepare_cached(&statements.upsert)?;
        for (key, row) in rows {
            statement.raw_bind_parameter(1, key.as_str())?;
            statement.raw_bind_parameter(2, row.event_time.micros())?;
            for (at, value) in row.values.iter().enumerate() {
                statement.raw_bind_parameter(at + 3, SqlValue(value.as_ref()))?;
            }
            match statement.raw_execute()? {
                0 => written.outdated += 1,
                _ => written.written += 1,
            }
        }
    }
    transaction.commit()?;
    Ok(written)
}

fn read_row(view: &FeatureView, row: &rusqlite::Row<'_>) -> Result<Row, rusqlite::Error> {
    let event_time = match row.get_ref(1)? {
        ValueRef::Integer(micros) => EventTime::from_micros(micros),
        _ => None,
    };
    let Some(event_time) = event_time else {
        return Ok(Row::all_unreadable(view));
    };
    let mut values = Vec::with_capacity(view.features.len());
    for (at, feature) in view.features.iter().enumerate() {
        values.push(match row.get_ref(at + 2)? {
            ValueRef::Null => None,
            stored => Some(restore(feature.dtype, stored).unwrap_or(FeatureValue::Unreadable)),
        });
    }
    let values = values.into();
    Ok(Row { event_time, values })
}

/// A value as `SQLite` stores it. NaN becomes a text, since `SQLite` would store a NaN float as
/// null.
struct SqlValue<'a>(Option<&'a FeatureValue>);

impl ToSql for SqlValue<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let stored = match self.0 {
            None | Some(FeatureValue::Unreadable) => ValueRef::Null,
            Some(FeatureValue::Float(number)) if number.is_nan() => ValueRef::Text(b"NaN"),
            Some(FeatureValue::Float(number)) => ValueRef::Real(*number),
            Some(FeatureValue::Int(int)) => ValueRef::Integer(*int),
            Some(FeatureValue::Bool(flag)) => ValueRef::Integer(i64::from(*flag)),
            Some(FeatureValue::Text(text)) => ValueRef::Text(text.as_bytes()),
            Some(FeatureValue::Bytes(bytes)) => ValueRef::Blob(bytes),
        };
        Ok(ToSqlOutput::Borrowed(stored))
    }
}

/// The reverse of [`SqlValue`] for values that are not null; `None` if the stored value does not
/// have the dtype.
fn restore(dtype: Dtype, stored: ValueRef<'_>) -> Option<FeatureValue> {
    let value = match (dtype, stored) {
        (Dtype::Float64 | Dtype::Float32, ValueRef::Real(number)) => FeatureValue::Float(number),
        (Dtype::Float64 | Dtype::Float32, ValueRef::Integer(int)) => {
            FeatureValue::Float(int as f64)
        }
        (Dtype::Float64 | Dtype::Float32, ValueRef::Text(b"NaN")) => FeatureValue::Float(f64::NAN),
        (Dtype::Int64 | Dtype::Int32, ValueRef::Integer(int)) => FeatureValue::Int(int),
        (Dtype::Bool, ValueRef::Integer(flag)) => FeatureValue::Bool(flag != 0),
        (Dtype::String, ValueRef::Text(text)) => {
            FeatureValue::Text(std::str::from_utf8(text).ok()?.into())
        }
        (Dtype::Bytes, ValueRef::Blob(bytes)) => FeatureValue::Bytes(bytes.into()),
        _ => return None,
    };
    Some(value)
}

fn connect(path: &Path, views: &Views) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // By default SQLite takes the quoted name of a missing column for a text, and every row would
    // have the name as its value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Views may come while the connection is open.
    let statements = views.all().len() * 3 + 4;
    connection.set_prepared_statement_cache_capacity(statements.max(64));
    Ok(connection)
}

fn connect_reader(path: &Path, views: &Views) -> Result<Connection, rusqlite::Error> {
    let reader = connect(path, views)?;
    reader.pragma_update(None, "query_only", true)?;
    Ok(reader)
}

/// Creates the table of a view or adds its new features, which are null in existing rows. A feature
/// that the configuration dropped stays in the file.
fn create_table(connection: &Connection, view: &FeatureView) -> Result<(), rusqlite::Error> {
    let table = quote(&view.name);
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {table} (__entity_key TEXT PRIMARY KEY NOT NULL, __event_time INTEGER NOT NULL) WITHOUT ROWID"
    ))?;
    let present = columns(connection, view)?;
    for feature in &view.features {
        if !present
            .iter()
            .any(|column| column.name.eq_ignore_ascii_case(&feature.name))
        {
            connection.execute_batch(&format!(
                "ALTER TABLE {table} ADD COLUMN {} {}",
                quote(&feature.name),
                affinity(feature.dtype)
            ))?;
        }
    }
    Ok(())
}

/// A column of a table.
struct TableColumn {
    name: String,
    declared: String,
    key: bool,
}

fn columns(connection: &Connection, view: &FeatureView) -> rusqlite::Result<Vec<TableColumn>> {
    let mut statement = connection.prepare("SELECT name, type, pk FROM pragma_table_info(?1)")?;
    let column = |row: &rusqlite::Row<'_>| {
        Ok(TableColumn {
            name: row.get(0)?,
            declared: row.get(1)?,
            key: row.get::<_, i64>(2)? == 1,
        })
    };
    statement.query_map([&*view.name], column)?.collect()
}

fn affinity(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::Float64 | Dtype::Float32 => "REAL",
        Dtype::Int64 | Dtype::Int32 | Dtype::Bool => "INTEGER",
        Dtype::String => "TEXT",
        Dtype::Bytes => "BLOB",
    }
}

/// The table of a view is not one that this program made for it.
#[derive(Debug, thiserror::Error)]
enum WrongTable {
    #[error("the table {table} has no column {column}")]
    Missing { table: Arc<str>, column: String },
    #[error("the column {column} of the table {table} is {declared:?} and not {expected}")]
    Type {
        table: Arc<str>,
        column: String,
        declared: String,
        expected: &'static str,
    },
    #[error("the column __entity_key of the table {table} is not its primary key")]
    Key { table: Arc<str> },
}

fn check_columns(view: &FeatureView, columns: &[TableColumn]) -> Result<(), WrongTable> {
    let own = [("__entity_key", "TEXT"), ("__event_time", "INTEGER")];
    let features = view
        .features
        .iter()
        .map(|feature| (feature.name.as_str(), affinity(feature.dtype)));
    let table = || Arc::clone(&view.name);
    for (name, expected) in own.into_iter().chain(features) {
        let column = columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(name));
        let Some(column) = column else {
            return Err(WrongTable::Missing {
                table: table(),
                column: name.to_owned(),
            });
        };
        if !column.declared.eq_ignore_ascii_case(expected) {
            return Err(WrongTable::Type {
                table: table(),
                column: name.to_owned(),
                declared: column.declared.clone(),
                expected,
            });
        }
        if name == own[0].0 && !column.key {
            return Err(WrongTable::Key { table: table() });
        }
    }
    Ok(())
}

impl From<WrongTable> for BackendError {
    fn from(wrong: WrongTable) -> Self {
        Self {
            action: "use the table",
            error_type: "SQLITE_MISMATCH",
            transient: false,
            status_code: None,
            source: Box::new(wrong),
        }
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn failed(action: &'static str) -> impl Fn(rusqlite::Error) -> BackendError {
    move |error| {
        let code = error.sqlite_error_code();
        let transient = matches!(
            code,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull)
        );
        let error_type = match code {
            Some(ErrorCode::DatabaseBusy) => "SQLITE_BUSY",
            Some(ErrorCode::DatabaseLocked) => "SQLITE_LOCKED",
            Some(ErrorCode::DiskFull) => "SQLITE_FULL",
            Some(ErrorCode::SystemIoFailure) => "SQLITE_IOERR",
            Some(ErrorCode::DatabaseCorrupt) => "SQLITE_CORRUPT",
            Some(ErrorCode::NotADatabase) => "SQLITE_NOTADB",
            Some(ErrorCode::CannotOpen) => "SQLITE_CANTOPEN",
            Some(ErrorCode::ReadOnly) => "SQLITE_READONLY",
            Some(_) => "SQLITE_ERROR",
            None => "SQLITE_MISMATCH",
        };
        BackendError {
            action,
            error_type,
            transient,
            status_code: None,
            source: Box::new(error),
        }
    }
}

/// The blocking work panicked, or the runtime is stopping.
fn aborted(
    action: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> BackendError {
    BackendError {
        action,
        error_type: "SQLITE_ABORT",
        transient: true,
        status_code: None,
        source: Box::new(error),
    }
}

#[cfg(test)]
mod tests;
