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
async fn a_changed_dtype_is_unreadable_and_not_a_null() {
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
        features = [{ name = "select", dtype = "bytes" }, { name = "added", dtype = "bytes" }]
    "#;
    let after = Views::parse(text).unwrap();
    let (backend, view) = (open(&folder, &after), after.view("Order").unwrap());
    let rows = backend.read(view, &[key("old")]).await.unwrap();
    let row = rows[0].as_ref().unwrap();
    assert_eq!(*row.values, [Some(FeatureValue::Unreadable), None]);
    assert_eq!((row.unreadable(), row.is_unreadable()), (Some(0), false));
    let error = backend.check(view).await.unwrap_err();
    assert_eq!(
        runtime::chain(&error),
        "cannot use the table: the column select of the table Order is \"INTEGER\" and not BLOB"
    );
}

#[tokio::test]
async fn one_value_that_cannot_be_read_leaves_the_other_rows() {
    let (folder, views) = (tempfile::tempdir().unwrap(), conformance::views());
    let backend = open(&folder, &views);
    let view = views.view("Order").unwrap();
    let keys = ["good", "bad", "undated"].map(key);
    let rows = keys.iter().map(|key| (key.clone(), number(1, 2))).collect();
    backend.write(view, rows).await.unwrap();
    let writer = backend.writer.get().await.unwrap();
    writer
        .execute_batch(
            r#"UPDATE "Order" SET "select" = x'00' WHERE __entity_key = 'bad';
               UPDATE "Order" SET __event_time = 'noon' WHERE __entity_key = 'undated'"#,
        )
        .unwrap();
    let read = backend.read(view, &keys).await.unwrap();
    assert_eq!(read[0], Some(number(1, 2)));
    assert_eq!(
        *read[1].as_ref().unwrap().values,
        [Some(FeatureValue::Unreadable)]
    );
    assert_eq!(read[2], Some(Row::all_unreadable(view)));
}

#[tokio::test]
async fn a_table_of_another_program_is_named() {
    let (folder, views) = (tempfile::tempdir().unwrap(), conformance::views());
    let path = folder.path().join("features.db");
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch(r#"CREATE TABLE "Order" (a TEXT, "select" INTEGER)"#)
        .unwrap();
    let backend = SqliteBackend::open(&path, &views).unwrap();
    let error = backend
        .check(views.view("Order").unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        runtime::chain(&error),
        "cannot use the table: the table Order has no column __entity_key"
    );
    backend
        .check(views.view("everything").unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_disk_is_an_error_of_its_own_and_reads_go_on() {
    let (folder, views) = (tempfile::tempdir().unwrap(), conformance::views());
    let backend = open(&folder, &views);
    let view = views.view("Order").unwrap();
    backend
        .write(view, vec![(key("kept"), number(1, 1))])
        .await
        .unwrap();
    let writer = backend.writer.get().await.unwrap();
    let pages: i64 = writer
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap();
    writer.pragma_update(None, "max_page_count", pages).unwrap();
    drop(writer);
    let many = (0..2_000)
        .map(|at| (key(&at.to_string()), number(1, at)))
        .collect();
    let error = backend.write(view, many).await.unwrap_err();
    assert_eq!((error.error_type, error.transient), ("SQLITE_FULL", true));
    assert_eq!(
        backend.read(view, &[key("kept"), key("1")]).await.unwrap(),
        [Some(number(1, 1)), None]
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
