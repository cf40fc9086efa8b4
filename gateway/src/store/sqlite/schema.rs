//! The table of predictions, and the migration of files of earlier releases.

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
/// Schema 1 had the variant as a column outside the key. The indexes are dropped first, because
/// they keep their names when their table is renamed.
const BEFORE_FROM_1: &str = "
    DROP INDEX IF EXISTS predictions_by_time; DROP INDEX IF EXISTS predictions_by_model;
    ALTER TABLE predictions RENAME TO predictions_1;";
const AFTER_FROM_1: &str = "
    INSERT INTO predictions SELECT model, variant, version, data_id, label, confidence, probabilities, computed_at,
        trace_id, span_id, run_id FROM predictions_1;
    DROP TABLE predictions_1;";

/// Creates the table or migrates it, in one transaction, and returns the schema version that the
/// file had, where a new file counts as 0.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<i64> {
    let version = || connection.query_row("PRAGMA user_version", [], |row| row.get(0));
    if version()? == SCHEMA_VERSION {
        return Ok(SCHEMA_VERSION);
    }
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let found = version()?;
    match found {
        0 => transaction.execute_batch(SCHEMA)?,
        1 => {
            for step in [BEFORE_FROM_1, SCHEMA, AFTER_FROM_1] {
                transaction.execute_batch(step)?;
            }
        }
        _ => {}
    }
    transaction.commit()?;
    if found == 1 {
        tracing::info!(name: "prediction_store.migrated", "migrated the prediction store to schema {SCHEMA_VERSION}");
    }
    Ok(found)
}
