//! The conformance suite on `SQLite`, and what only a file can get wrong.

use std::path::Path;

use super::conformance::{check, prediction};
use super::sqlite::{OpenError, SqliteStore};
use super::{Lookup, PredictionStore, StoreError};

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).unwrap()
}

fn lookup() -> Lookup {
    Lookup { model: "m".to_owned(), version: "1".to_owned(), data_ids: vec!["a".to_owned()] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    check(&open(&folder.path().join("predictions.db")), async || ()).await;
}

#[tokio::test]
async fn a_file_outlives_the_process_and_its_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/predictions.db");
    open(&path).put_many(vec![prediction("m", "1", "a", 0)]).await.unwrap();
    assert_eq!(open(&path).get_many(lookup()).await.unwrap(), [Some(prediction("m", "1", "a", 0))]);
}

#[test]
fn a_file_that_is_no_database_or_of_a_later_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.db");
    std::fs::write(&path, "this is a text and not a database, however long it may be".repeat(100)).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::File { .. }) && error.to_string().contains("predictions.db"), "{error}");

    let path = folder.path().join("later.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(OpenError::Schema { found: 2, .. })));
    let error = SqliteStore::open(Path::new("/proc/nowhere/predictions.db")).unwrap_err();
    assert!(matches!(error, OpenError::Folder { .. }), "{error}");
}

#[tokio::test]
async fn a_broken_table_is_an_error_and_works_again_when_mended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.db");
    let store = open(&path);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("ALTER TABLE predictions RENAME TO hidden").unwrap();
    assert!(matches!(store.get_many(lookup()).await, Err(StoreError::Engine { error_type: "SQLITE_ERROR", .. })));
    assert!(store.put_many(vec![prediction("m", "1", "a", 0)]).await.is_err());
    other.execute_batch("ALTER TABLE hidden RENAME TO predictions").unwrap();
    store.put_many(vec![prediction("m", "1", "a", 0)]).await.unwrap().remove(0).unwrap();
    assert!(store.get_many(lookup()).await.unwrap()[0].is_some());
}

#[tokio::test]
async fn one_refused_prediction_does_not_take_the_others_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.db");
    let store = open(&path);
    let trigger =
        "CREATE TRIGGER no BEFORE INSERT ON predictions WHEN NEW.data_id = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END";
    rusqlite::Connection::open(&path).unwrap().execute_batch(trigger).unwrap();
    let all = ["a", "bad", "b"].map(|id| prediction("m", "1", id, 0)).to_vec();
    let results = store.put_many(all).await.unwrap();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert!(store.get_many(lookup()).await.unwrap()[0].is_some());
}
