//! The table of predictions, and how a file of an earlier release comes to it.

use rusqlite::{Connection, Transaction, TransactionBehavior};

pub(super) const SCHEMA_VERSION: i64 = 2;
const SCHEMA: &str = "
    CREATE TABLE predictions (
        model TEXT NOT NULL, variant TEXT NOT NULL, version TEXT NOT NULL, data_id TEXT NOT NULL,
        label TEXT NOT NULL, confidence REAL NOT NULL, probabilities BLOB NOT NULL,
        computed_at INTEGER NOT NULL, trace_id TEXT, span_id TEXT, run_id TEXT,
        PRIMARY KEY (model, variant, version, data_id)
    ) WITHOUT ROWID;
    CREATE INDEX predictions_by_time ON predictions (computed_at);
    CREATE INDEX predictions_by_model ON predictions (model, computed_at);
    PRAGMA user_version = 2;";
/// Schema 1 had no variant in its key: what it holds becomes the predictions of the variants that computed them. The indexes
/// go first, since they keep their names when a table gets another.
const FROM_1: [&str; 2] = [
    "DROP INDEX IF EXISTS predictions_by_time; DROP INDEX IF EXISTS predictions_by_model;
     ALTER TABLE predictions RENAME TO predictions_1;",
    "INSERT INTO predictions SELECT model, variant, version, data_id, label, confidence, probabilities, computed_at,
        trace_id, span_id, run_id FROM predictions_1;
     DROP TABLE predictions_1;",
];
/// Makes the table, or brings it to the present schema, all at once or not at all; gives the schema of the file.
pub(super) fn prepare(connection: &Connection) -> Result<i64, rusqlite::Error> {
    let version = || connection.query_row("PRAGMA user_version", [], |row| row.get(0));
    if version()? == SCHEMA_VERSION {
        return Ok(SCHEMA_VERSION);
    }
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let found = version()?;
    match found {
        0 => transaction.execute_batch(SCHEMA)?,
        1 => [FROM_1[0], SCHEMA, FROM_1[1]]
            .into_iter()
            .try_for_each(|step| transaction.execute_batch(step))?,
        _ => {}
    }
    transaction.commit()?;
    if found == 1 {
        tracing::info!(name: "prediction_store.migrated", "the prediction store was brought to schema {SCHEMA_VERSION}");
    }
    Ok(found)
}
