//! The conformance suite on `SQLite`, and what only a file can do.

use super::*;
use crate::backend::conformance;
use crate::backend::conformance::{key, number};

fn open(folder: &tempfile::TempDir, views: &Views) -> SqliteBackend {
    SqliteBackend::open(&folder.path().join("new/features.db"), views).unwrap()
}

#[tokio::test]
async fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    conformance::check(&open(&folder, &conformance::views())).await;
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_file() {
    let (folder, views) = (tempfile::tempdir().unwrap(), conformance::views());
    let view = views.view("Order").unwrap();
    open(&folder, &views)
        .write(view, vec![(key("kept"), number(1, 2))])
        .await
        .unwrap();
    let again = open(&folder, &views);
    assert_eq!(
        again.read(view, &[key("kept")]).await.unwrap(),
        [Some(number(1, 2))]
    );
    let writer = again.writer.get().await.unwrap();
    let journal: String = writer
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    let synchronous: i64 = writer
        .query_row("PRAGMA synchronous", [], |row| row.get(0))
        .unwrap();
    assert_eq!(
        (journal.as_str(), synchronous),
        ("wal", 2),
        "2 is FULL: the journal is flushed at every commit"
    );
}

#[tokio::test]
async fn a_new_feature_is_null_in_old_rows() {
    let (folder, before) = (tempfile::tempdir().unwrap(), conformance::views());
    let view = before.view("Order").unwrap();
    open(&folder, &before)
        .write(view, vec![(key("old"), number(1, 2))])
        .await
        .unwrap();
    let text = r#"
        [[feature_view]]
        name = "Order"
        join_keys = ["a", "b"]
        features = [{ name = "added", dtype = "string" }, { name = "select", dtype = "int64" }]
    "#;
    let after = Views::parse(text).unwrap();
    let row = open(&folder, &after)
        .read(after.view("Order").unwrap(), &[key("old")])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(*row.values, [None, Some(FeatureValue::Int(2))]);
}

#[tokio::test]
async fn a_changed_dtype_is_an_error_and_not_a_null() {
    let (folder, before) = (tempfile::tempdir().unwrap(), conformance::views());
    let view = before.view("Order").unwrap();
    open(&folder, &before)
        .write(view, vec![(key("old"), number(1, 2))])
        .await
        .unwrap();
    let text = r#"
        [[feature_view]]
        name = "Order"
        join_keys = ["a", "b"]
        features = [{ name = "select", dtype = "bytes" }]
    "#;
    let after = Views::parse(text).unwrap();
    let error = open(&folder, &after)
        .read(after.view("Order").unwrap(), &[key("old")])
        .await
        .unwrap_err();
    assert_eq!(
        (error.error_type, error.transient),
        ("SQLITE_MISMATCH", false)
    );
    assert!(
        error.source.to_string().contains("select"),
        "{}",
        error.source
    );
}

#[tokio::test]
async fn a_failed_write_is_an_error_and_leaves_nothing() {
    let (folder, views) = (tempfile::tempdir().unwrap(), conformance::views());
    let backend = open(&folder, &views);
    let view = views.view("Order").unwrap();
    // One value too many for the statement: the second row fails after the first was executed.
    let broken = Row {
        values: [None, None].into(),
        ..number(1, 1)
    };
    let error = backend
        .write(
            view,
            vec![(key("first"), number(1, 1)), (key("second"), broken)],
        )
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot write features");
    assert_eq!(
        backend.read(view, &[key("first")]).await.unwrap(),
        [None],
        "the transaction was rolled back"
    );
    backend
        .write(view, vec![(key("first"), number(1, 1))])
        .await
        .unwrap();
    assert_eq!(
        backend.read(view, &[key("first")]).await.unwrap(),
        [Some(number(1, 1))],
        "the connection is usable"
    );
}

#[tokio::test]
async fn a_write_goes_on_when_its_caller_leaves() {
    let (folder, views) = (tempfile::tempdir().unwrap(), conformance::views());
    let backend = open(&folder, &views);
    let view = views.view("Order").unwrap();
    let mut write = backend.write(view, vec![(key("left"), number(1, 1))]);
    std::future::poll_fn(|context| {
        let _ = write.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
    drop(write);
    // The next write has to wait for the one connection, so it comes after the abandoned one.
    backend
        .write(view, vec![(key("next"), number(1, 2))])
        .await
        .unwrap();
    let read = backend
        .read(view, &[key("left"), key("next")])
        .await
        .unwrap();
    assert_eq!(read, [Some(number(1, 1)), Some(number(1, 2))]);
}

#[test]
fn a_file_that_is_not_a_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.db");
    std::fs::write(
        &path,
        "not a database, but long enough to have a header".repeat(50),
    )
    .unwrap();
    let error = SqliteBackend::open(&path, &conformance::views()).unwrap_err();
    assert_eq!(error.error_type, "SQLITE_NOTADB");
    let error =
        SqliteBackend::open(&path.join("below/a/file.db"), &conformance::views()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot create the folder of the database"
    );
}
