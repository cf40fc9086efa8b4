//! The conformance suite on `SQLite`, and what only a file can get wrong.

pub(crate) mod conformance;

use std::path::Path;

use self::conformance::{check, prediction};
use super::sqlite::{OpenError, SqliteStore};
use super::{Lookup, PredictionStore, Search, StoreError};

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).unwrap()
}

fn lookup() -> Lookup {
    conformance::lookup("m", "1", &["a"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    check(&open(&folder.path().join("predictions.db")), async || ()).await;
}

#[tokio::test]
async fn predictions_outlive_the_process_and_the_folder_is_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/predictions.db");
    open(&path)
        .put_many(vec![prediction("m", "1", "a", 0)])
        .await
        .unwrap();
    assert_eq!(
        open(&path).get_many(lookup()).await.unwrap(),
        [Some(prediction("m", "1", "a", 0))]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_is_removed_than_goes_at_once_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("predictions.db"));
    let old = (0..2_500).map(|number| prediction("m", "1", &number.to_string(), 0));
    store.put_many(old.collect()).await.unwrap();
    let new = vec![prediction("m", "1", "a", 5)];
    let before = new[0].computed_at;
    let (removed, written) = tokio::join!(store.remove_older(before), store.put_many(new));
    assert_eq!(removed.unwrap(), 2_500);
    written.unwrap().remove(0).unwrap();
    assert_eq!(store.remove_older(before).await.unwrap(), 0);
    let found = store.get_many(lookup()).await.unwrap();
    assert_eq!(found, [Some(prediction("m", "1", "a", 5))]);
}

#[test]
fn a_file_that_is_not_a_database_or_has_a_later_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.db");
    std::fs::write(
        &path,
        "this is a text and not a database, however long it may be".repeat(100),
    )
    .unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(
        matches!(error, OpenError::File { .. }) && error.to_string().contains("predictions.db"),
        "{error}"
    );

    let path = folder.path().join("later.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 3)
        .unwrap();
    assert!(matches!(
        SqliteStore::open(&path),
        Err(OpenError::Schema { found: 3, .. })
    ));
    let error = SqliteStore::open(Path::new("/proc/nowhere/predictions.db")).unwrap_err();
    assert!(matches!(error, OpenError::Folder { .. }), "{error}");
}

/// A file of schema 1, from a release without variants.
const SCHEMA_1: &str = "
    CREATE TABLE predictions (
        model TEXT NOT NULL, version TEXT NOT NULL, data_id TEXT NOT NULL,
        variant TEXT NOT NULL, label TEXT NOT NULL, confidence REAL NOT NULL, probabilities BLOB NOT NULL,
        computed_at INTEGER NOT NULL, trace_id TEXT, span_id TEXT, run_id TEXT,
        PRIMARY KEY (model, version, data_id)
    ) WITHOUT ROWID;
    CREATE INDEX predictions_by_time ON predictions (computed_at);
    CREATE INDEX predictions_by_model ON predictions (model, computed_at);
    PRAGMA user_version = 1;
    INSERT INTO predictions VALUES ('m', '1', 'a', 'primary', 'high', 0.699999988079071, X'9a99993e3333333f',
        1700000000123456, '0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331', '4bf92f3577b34da6a3ce929d0e0e4736');
    INSERT INTO predictions VALUES ('m', '', 'b', 'primary', 'low', 0.5, X'', 1700000001123456, NULL, NULL, NULL);";

#[tokio::test]
async fn a_file_of_schema_1_is_migrated_with_its_predictions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch(SCHEMA_1)
        .unwrap();
    for _ in 0..2 {
        let store = open(&path);
        assert_eq!(
            store.get_many(lookup()).await.unwrap(),
            [Some(prediction("m", "1", "a", 0))]
        );
        assert_eq!(
            store
                .search(Search {
                    limit: 10,
                    ..Search::default()
                })
                .await
                .unwrap()
                .predictions
                .len(),
            2
        );
        assert_eq!(
            store
                .latest_version("m", "primary")
                .await
                .unwrap()
                .as_deref(),
            Some("")
        );
    }
    let store = open(&path);
    store
        .put_many(vec![prediction("m", "1", "new", 5)])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    let names = "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE name LIKE 'pred%' ORDER BY name)";
    let names: String = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row(names, [], |row| row.get(0))
        .unwrap();
    assert_eq!(
        names,
        "predictions,predictions_by_model,predictions_by_time"
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_migrated_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    // A table with the name that the migration gives to the old one fails it.
    old.execute_batch(&format!("{SCHEMA_1} CREATE TABLE predictions_1 (x);"))
        .unwrap();
    assert!(matches!(
        SqliteStore::open(&path),
        Err(OpenError::File { .. })
    ));
    let count: i64 = old
        .query_row("SELECT count(version) FROM predictions", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(count, 2);
    old.execute_batch("DROP TABLE predictions_1").unwrap();
    assert!(open(&path).get_many(lookup()).await.unwrap()[0].is_some());
}

#[tokio::test]
async fn a_missing_table_is_an_error_and_works_again_when_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.db");
    let store = open(&path);
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch("ALTER TABLE predictions RENAME TO hidden")
        .unwrap();
    assert!(matches!(
        store.get_many(lookup()).await,
        Err(StoreError::Engine {
            error_type: "SQLITE_ERROR",
            ..
        })
    ));
    assert!(
        store
            .put_many(vec![prediction("m", "1", "a", 0)])
            .await
            .is_err()
    );
    other
        .execute_batch("ALTER TABLE hidden RENAME TO predictions")
        .unwrap();
    store
        .put_many(vec![prediction("m", "1", "a", 0)])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert!(store.get_many(lookup()).await.unwrap()[0].is_some());
}

#[tokio::test]
async fn one_refused_prediction_does_not_affect_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.db");
    let store = open(&path);
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON predictions WHEN NEW.data_id = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END";
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch(trigger)
        .unwrap();
    let all = ["a", "bad", "b"]
        .map(|id| prediction("m", "1", id, 0))
        .to_vec();
    let results = store.put_many(all).await.unwrap();
    assert_eq!(
        results.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert!(store.get_many(lookup()).await.unwrap()[0].is_some());
}

#[test]
fn a_full_disk_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = rusqlite::Connection::open(folder.path().join("x.db")).unwrap();
    // The engine's own limit of a file ends like a full disk.
    file.pragma_update(None, "max_page_count", 8).unwrap();
    file.execute_batch("CREATE TABLE t (x)").unwrap();
    let insert = || file.execute("INSERT INTO t VALUES (zeroblob(4096))", []);
    let error = (0..20).find_map(|_| insert().err()).unwrap();
    let error = StoreError::from(error);
    assert_eq!(error.error_type(), "SQLITE_FULL");
    assert_eq!(error.hint(), Some("the disk is full"));
}
