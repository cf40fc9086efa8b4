//! Writes valid and invalid files into a real database, and interrupts runs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::mark::Prefix;
use super::*;
use crate::backend::sqlite::SqliteBackend;
use crate::backend::{BackendError, Call, Engine, EntityKey, Pending, Row};
use crate::value::FeatureValue;
use crate::views::Views;

struct Bench {
    folder: tempfile::TempDir,
    backend: Arc<dyn FeatureBackend>,
    views: Views,
}

fn bench(views: Views) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let backend =
        Arc::new(SqliteBackend::open(&folder.path().join("features.db"), &views).unwrap());
    Bench {
        folder,
        backend,
        views,
    }
}

fn two_columns() -> Bench {
    let text = r#"
        [[feature_view]]
        name = "v"
        join_keys = ["id"]
        features = [{ name = "x", dtype = "float64" }, { name = "n", dtype = "int64" }]
    "#;
    bench(Views::parse(text).unwrap())
}

fn options(event_time: &str, map: &[(&str, &str)]) -> ReadOptions {
    let map = map
        .iter()
        .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
        .collect();
    ReadOptions {
        format: Format::Csv,
        map,
        event_time: EventTime::parse(event_time).unwrap(),
        max_future: Duration::from_hours(24),
    }
}

impl Bench {
    async fn load(
        &self,
        text: &[u8],
        options: &ReadOptions,
    ) -> Result<MaterializeReport, MaterializeError> {
        let text = io::Cursor::new(text.to_vec());
        write_all(
            Arc::clone(&self.backend),
            &self.views.all()[0],
            text,
            options,
        )
        .await
    }

    async fn read(&self, id: &str) -> Option<Row> {
        let keys = [EntityKey::from_texts(&[id])];
        self.backend
            .read(&self.views.all()[0], &keys)
            .await
            .unwrap()
            .remove(0)
    }
}

#[tokio::test]
async fn loads_the_wine_data() {
    let bench = bench(Views::load(None).unwrap());
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../data/wine_quality/winequality-red.csv"
    );
    let options = options("2026-06-01", &[("data_id", "wine_id")]);
    let report = write_all(
        Arc::clone(&bench.backend),
        &bench.views.all()[0],
        File::open(path).unwrap(),
        &options,
    )
    .await
    .unwrap();
    assert_eq!(
        report,
        MaterializeReport {
            rows: Written {
                written: 1_599,
                outdated: 0
            },
            ..MaterializeReport::default()
        }
    );
    let first = bench.read("wine-0001").await.unwrap();
    let values = [
        7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4,
    ];
    assert!(
        first
            .values
            .iter()
            .eq(values.map(|value| Some(FeatureValue::Float(value))).iter()),
        "{first:?}"
    );
    assert_eq!(first.event_time, options.event_time);
    assert!(bench.read("wine-1599").await.is_some() && bench.read("wine-1600").await.is_none());
}

#[tokio::test]
async fn bad_rows_are_refused_and_reported_by_line() {
    let bench = two_columns();
    let text =
        b"id,x,n,ignored\na,1.5,2,z\nb,much,2,z\n\nc,1,2\nd,,,z\n\"e\ne\",1,2.5,z\n,1,1,z\nf,\xff,1,z\ng,1,1,z\n";
    let report = bench.load(text, &options("2026-06-01", &[])).await.unwrap();
    assert_eq!(
        report.rows,
        Written {
            written: 3,
            outdated: 0
        }
    );
    let refusals: Vec<(u64, &str)> = report
        .refusals
        .iter()
        .map(|row| (row.line, row.reason.as_str()))
        .collect();
    let expected = [
        (3, "x is not a float64"),
        (5, "has 3 fields instead of 4"),
        (7, "n is not a int64"),
        (9, "id is empty"),
        (10, "is not UTF-8"),
    ];
    assert_eq!((refusals.as_slice(), report.refused), (&expected[..], 5));
    assert_eq!(
        *bench.read("d").await.unwrap().values,
        [None, None],
        "an empty field is null"
    );
    assert!(bench.read("g").await.is_some() && bench.read("f").await.is_none());
}

#[tokio::test]
async fn lines_are_counted_as_editors_do() {
    for end in ["\n", "\r\n"] {
        for last in ["", "\n", "\r\n", "\n\n"] {
            let bench = two_columns();
            let rows = [
                "id,n,x", "a,1,1", "", "", "b,?,2", "\"c", "c\",?,2", "d,1,", "e,?,3",
            ];
            let report = bench
                .load(
                    (rows.join(end) + last).as_bytes(),
                    &options("2026-06-01", &[]),
                )
                .await
                .unwrap();
            let lines: Vec<u64> = report.refusals.iter().map(|row| row.line).collect();
            assert_eq!(
                lines,
                [5, 6, 9],
                "lines end with {end:?}, the file with {last:?}"
            );
            assert_eq!(
                *bench.read("d").await.unwrap().values,
                [None, Some(FeatureValue::Int(1))],
                "no CR in a field"
            );
        }
    }
}

#[tokio::test]
async fn event_times_of_the_file_count() {
    let bench = two_columns();
    let text = b"id,x,n,event_timestamp\na,1,1,2026-06-02T00:00:00Z\nb,1,1,soon\n";
    let report = bench.load(text, &options("2026-06-01", &[])).await.unwrap();
    assert_eq!(
        report.refusals,
        [RefusedRow {
            line: 3,
            reason: "event_timestamp is not an ISO 8601 time".to_owned()
        }]
    );
    assert_eq!(
        Some(bench.read("a").await.unwrap().event_time),
        EventTime::parse("2026-06-02")
    );
    let older = bench
        .load(b"id,x,n\na,9,9\n", &options("2026-06-01", &[]))
        .await
        .unwrap();
    assert_eq!(
        older.rows,
        Written {
            written: 0,
            outdated: 1
        }
    );
    assert_eq!(
        bench.read("a").await.unwrap().values[1],
        Some(FeatureValue::Int(1)),
        "the newer row stays"
    );
}

#[tokio::test]
async fn the_header_must_have_every_column_once() {
    let bench = two_columns();
    let none = options("2026-06-01", &[]);
    let error = bench.load(b"id,x\na,1\n", &none).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"the file must have exactly one column "n"; it has id, x"#
    );
    let error = bench.load(b"id,x,n,n\na,1,1,1\n", &none).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"the file must have exactly one column "n"; it has id, x, n, n"#
    );
    let mapped = bench
        .load(
            b"ID,x,m\na,1,5\n",
            &options("2026-06-01", &[("ID", "id"), ("m", "n")]),
        )
        .await
        .unwrap();
    assert_eq!(mapped.rows.written, 1);
    assert_eq!(
        bench.read("a").await.unwrap().values[1],
        Some(FeatureValue::Int(5))
    );
}

#[tokio::test]
async fn many_bad_rows_are_counted_and_not_kept() {
    let bench = two_columns();
    let text = format!("id,x,n\n{}", "a,?,1\n".repeat(1_000));
    let report = bench
        .load(text.as_bytes(), &options("2026-06-01", &[]))
        .await
        .unwrap();
    assert_eq!(
        (report.refused, report.refusals.len(), report.rows),
        (1_000, REPORTED, Written::default())
    );
}

#[test]
fn options_are_read() {
    assert_eq!(mapping("a=b"), Ok(("a".to_owned(), "b".to_owned())));
    for wrong in ["a", "=b", "a=", ""] {
        assert!(mapping(wrong).is_err(), "{wrong}");
    }
    assert_eq!(
        event_time("2026-06-01").ok(),
        EventTime::parse("2026-06-01T00:00:00Z")
    );
    assert!(event_time("soon").is_err());
}

fn ndjson(event_time: &str, map: &[(&str, &str)]) -> ReadOptions {
    ReadOptions {
        format: Format::Ndjson,
        ..options(event_time, map)
    }
}

#[tokio::test]
async fn json_lines_are_rows_too() {
    let bench = two_columns();
    let text = concat!(
        "\u{feff}{\"id\": \"a\", \"x\": 1.5, \"n\": 2, \"more\": {}}\n",
        "{\"id\": 7, \"x\": \"NaN\", \"n\": null, \"event_timestamp\": \"2026-06-02\"}\r\n",
        "\n",
        "{\"id\": \"c\", \"x\": 1}\n",
        "{\"id\": \"d\", \"x\": \"much\", \"n\": 1}\n",
        "[1]\n",
        "{\"id\": \"e\",\n",
        "{\"id\": null, \"x\": 1, \"n\": 1}\n",
        "{\"id\": \"\", \"x\": 1, \"n\": 1}\n",
        "{\"id\": \"f\", \"x\": 1, \"n\": 1, \"event_timestamp\": 5}\n",
        "{\"id\": \"g\", \"x\": 1, \"n\": 9.5}\n",
        "{\"id\": \"h\", \"x\": 1, \"n\": 3}",
    );
    let report = bench
        .load(text.as_bytes(), &ndjson("2026-06-01", &[]))
        .await
        .unwrap();
    let refusals: Vec<(u64, &str)> = report
        .refusals
        .iter()
        .map(|row| (row.line, row.reason.as_str()))
        .collect();
    let expected = [
        (4, "n is missing"),
        (5, "x is not a float64"),
        (
            6,
            "is not a JSON object: invalid type: sequence, expected an object",
        ),
        (7, "is not JSON"),
        (8, "id is not a string, a whole number or a boolean"),
        (9, "id is not a string, a whole number or a boolean"),
        (10, "event_timestamp is not an ISO 8601 time"),
        (11, "n is not a int64"),
    ];
    assert_eq!(
        (refusals.as_slice(), report.rows.written),
        (&expected[..], 3)
    );
    let seven = bench.read("7").await.unwrap();
    assert!(
        matches!(seven.values[0], Some(FeatureValue::Float(number)) if number.is_nan())
            && seven.values[1].is_none()
    );
    assert_eq!(Some(seven.event_time), EventTime::parse("2026-06-02"));
    let mapped = b"{\"ID\": \"z\", \"x\": null, \"count\": 5, \"at\": \"2026-06-03\"}";
    let options = ndjson(
        "2026-06-01",
        &[("ID", "id"), ("count", "n"), ("at", "event_timestamp")],
    );
    assert_eq!(bench.load(mapped, &options).await.unwrap().rows.written, 1);
    let mapped = bench.read("z").await.unwrap();
    assert_eq!(
        (&*mapped.values, Some(mapped.event_time)),
        (
            &[None, Some(FeatureValue::Int(5))][..],
            EventTime::parse("2026-06-03")
        )
    );
}

#[test]
fn the_extension_decides_the_format() {
    for (name, format) in [
        ("a.csv", Format::Csv),
        ("a.NDJSON", Format::Ndjson),
        ("a.jsonl", Format::Ndjson),
        ("-", Format::Csv),
    ] {
        assert_eq!(Format::of(Path::new(name)), format, "{name}");
    }
}

/// A beginning, followed by this many bytes of `a`.
fn long(beginning: &str, bytes: u64) -> impl Read + Send + 'static {
    io::Cursor::new(beginning.to_owned().into_bytes()).chain(io::repeat(b'a').take(bytes))
}

#[tokio::test]
async fn a_row_without_an_end_does_not_fill_the_memory() {
    let bench = two_columns();
    let view = &bench.views.all()[0];
    let endless = long("id,x,n\nfirst,1,1\n\"second,", 60_000_000);
    let error = write_all(
        Arc::clone(&bench.backend),
        view,
        endless,
        &options("2026-06-01", &[]),
    )
    .await
    .unwrap_err();
    assert!(
        matches!(&error, MaterializeError::Read { line: 3, .. }),
        "{error:?}"
    );
    assert!(
        runtime::chain(&error).contains("longer than 16777216 bytes"),
        "{}",
        runtime::chain(&error)
    );
    assert!(
        bench.read("first").await.is_some(),
        "what came before is stored"
    );

    let line = long("", 40_000_000).chain(&b"\n{\"id\": \"b\", \"x\": 1, \"n\": 1}\n"[..]);
    let report = write_all(
        Arc::clone(&bench.backend),
        view,
        line,
        &ndjson("2026-06-01", &[]),
    )
    .await
    .unwrap();
    let expected = RefusedRow {
        line: 1,
        reason: "is longer than 16777216 bytes".to_owned(),
    };
    assert_eq!(
        (report.refusals, report.rows.written),
        (vec![expected], 1),
        "the line after it is a row"
    );
}

/// A backend that accepts a number of batches and holds the following ones until it is opened.
struct Gated {
    inner: Arc<dyn FeatureBackend>,
    writers: usize,
    left: AtomicUsize,
    held: Notify,
    open: Notify,
    /// The entities of the writes in flight; none may be in two of them.
    in_flight: Mutex<Vec<EntityKey>>,
    most: AtomicUsize,
    failures: AtomicUsize,
}

impl Gated {
    fn new(inner: &Arc<dyn FeatureBackend>, writers: usize, batches: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            writers,
            left: AtomicUsize::new(batches),
            held: Notify::new(),
            open: Notify::new(),
            in_flight: Mutex::default(),
            most: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
        })
    }
}

impl FeatureBackend for Gated {
    fn engine(&self) -> Engine {
        let call = |one| Call { one, batch: one };
        Engine {
            system: "gated",
            read: call("READ"),
            write: call("WRITE"),
        }
    }

    fn writers(&self) -> usize {
        self.writers
    }

    fn mark<'a>(&'a self, name: &'a str) -> Pending<'a, Option<String>> {
        self.inner.mark(name)
    }

    fn set_mark<'a>(&'a self, name: &'a str, text: Option<String>) -> Pending<'a, ()> {
        self.inner.set_mark(name, text)
    }

    fn read<'a>(
        &'a self,
        view: &'a Arc<FeatureView>,
        keys: &'a [EntityKey],
    ) -> Pending<'a, Vec<Option<Row>>> {
        self.inner.read(view, keys)
    }

    fn write<'a>(
        &'a self,
        view: &'a Arc<FeatureView>,
        rows: Vec<(EntityKey, Row)>,
    ) -> Pending<'a, Written> {
        Box::pin(async move {
            if self.failures.load(Ordering::SeqCst) > 0 {
                self.failures.fetch_sub(1, Ordering::SeqCst);
                let source = Box::new(io::Error::other("away"));
                return Err(BackendError {
                    action: "write features",
                    error_type: "away",
                    transient: true,
                    status_code: None,
                    source,
                });
            }
            {
                let mut in_flight = self.in_flight.lock();
                assert!(
                    rows.iter().all(|(key, _)| !in_flight.contains(key)),
                    "an entity is in two writes"
                );
                let mut keys: Vec<EntityKey> = rows.iter().map(|(key, _)| key.clone()).collect();
                keys.dedup();
                in_flight.extend(keys);
            }
            let take = |left: usize| left.checked_sub(1);
            if self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                .is_err()
            {
                self.held.notify_one();
                self.open.notified().await;
            }
            tokio::task::yield_now().await;
            let keys: Vec<EntityKey> = rows.iter().map(|(key, _)| key.clone()).collect();
            self.most
                .fetch_max(self.in_flight.lock().len() / 500, Ordering::SeqCst);
            let written = self.inner.write(view, rows).await;
            self.in_flight.lock().retain(|key| !keys.contains(key));
            written
        })
    }

    fn delete<'a>(&'a self, _: &'a Arc<FeatureView>, _: &'a [EntityKey]) -> Pending<'a, u64> {
        Box::pin(async { Ok(0) })
    }
}

fn pump(bench: &Bench, backend: Arc<dyn FeatureBackend>, name: &str) -> Pump {
    Pump {
        concurrency: backend.writers(),
        backend,
        view: Arc::clone(&bench.views.all()[0]),
        mark_name: Some(name.to_owned()),
        event_time: EventTime::parse("2026-06-01").unwrap(),
        refused: None,
        progress: Progress::none(),
        patience: PATIENCE,
    }
}

/// 5,000 rows, every hundredth one bad; quoted line ends and blank lines to make counting hard.
fn file(bench: &Bench) -> PathBuf {
    let path = bench.folder.path().join("rows.csv");
    let row = |at: u64| match at % 100 {
        7 => format!("e{at},bad,{at}\n"),
        8 => format!("\"e\n{at}\",1,{at}\r\n\n"),
        _ => format!("e{at},0.5,{at}\n"),
    };
    std::fs::write(
        &path,
        format!("id,x,n\n{}", (0..5_000).map(row).collect::<String>()),
    )
    .unwrap();
    path
}

#[tokio::test]
async fn an_interrupted_run_is_continued() {
    for writers in [1, 4] {
        let bench = two_columns();
        let (path, view, options) = (
            file(&bench),
            &bench.views.all()[0],
            options("2026-06-01", &[]),
        );
        let whole = bench
            .load(&std::fs::read(&path).unwrap(), &options)
            .await
            .unwrap();
        let source = Source::open(&path).unwrap();
        let name = source.mark_name(view, &options).unwrap().unwrap();

        let gated = Gated::new(&bench.backend, writers, 3);
        let stop = async {
            gated.held.notified().await;
            gated.open.notify_waiters();
        };
        let rows = source.rows(view, &options, None).unwrap();
        // The held batches continue as soon as the run is to stop.
        let opened = async {
            loop {
                gated.open.notify_one();
                tokio::task::yield_now().await;
            }
        };
        let run = pump(&bench, Arc::clone(&gated) as _, &name).run(rows, Mark::default(), stop);
        let ended = tokio::select! { ended = run => ended.unwrap(), () = opened => unreachable!() };
        let Ended::Interrupted { report, line } = ended else {
            panic!("{ended:?}")
        };
        let done = report.rows.written + report.rows.outdated + report.refused;
        assert!(
            (1_500..5_000).contains(&done) && done % 500 == 0,
            "{writers} writers: {done} rows before line {line}"
        );

        let mark = source
            .find_mark(&*bench.backend, &name)
            .await
            .unwrap()
            .expect("there is a mark");
        assert_eq!(
            (mark.line, mark.written + mark.outdated + mark.refused),
            (line, done)
        );
        let rows = source.rows(view, &options, Some(&mark)).unwrap();
        let counting = Gated::new(&bench.backend, writers, usize::MAX);
        let Ended::Whole(rest) = pump(&bench, counting, &name)
            .run(rows, mark, std::future::pending())
            .await
            .unwrap()
        else {
            panic!("it reaches the end")
        };
        // Every row is counted once over both runs, and line numbers of the second are those of the
        // file.
        assert_eq!((rest.rows, rest.refused), (whole.rows, whole.refused));
        let late: Vec<&RefusedRow> = whole
            .refusals
            .iter()
            .filter(|row| row.line >= line)
            .collect();
        assert_eq!(rest.refusals.iter().collect::<Vec<_>>(), late);
        assert_eq!(
            bench.backend.mark(&name).await.unwrap(),
            None,
            "a run that ended leaves no mark"
        );
    }
}

#[tokio::test]
async fn a_mark_is_valid_only_for_the_bytes_before_it() {
    let bench = two_columns();
    let (path, view, options) = (
        file(&bench),
        &bench.views.all()[0],
        options("2026-06-01", &[]),
    );
    let text = std::fs::read(&path).unwrap();
    let name = Source::open(&path)
        .unwrap()
        .mark_name(view, &options)
        .unwrap()
        .unwrap();
    let mut prefix = Prefix::new(File::open(&path).unwrap());
    let mark = Mark {
        offset: 70_000,
        line: 4_000,
        digest: prefix.digest(70_000).unwrap(),
        ..Mark::default()
    };
    let found = async |text: &[u8]| {
        std::fs::write(&path, text).unwrap();
        let source = Source::open(&path).unwrap();
        assert_eq!(
            source.mark_name(view, &options).unwrap().unwrap(),
            name,
            "the beginning is the same"
        );
        source.find_mark(&*bench.backend, &name).await.unwrap()
    };
    assert_eq!(found(&text).await, None);
    bench
        .backend
        .set_mark(&name, Some(serde_json::to_string(&mark).unwrap()))
        .await
        .unwrap();
    assert_eq!(found(&text).await, Some(mark.clone()));
    assert_eq!(
        found(&[&text[..], b"more,1,1\n"].concat()).await,
        Some(mark),
        "a file may grow"
    );
    let mut changed = text.clone();
    changed[69_999] ^= 1;
    assert_eq!(found(&changed).await, None, "but not change");
    assert_eq!(found(&text[..66_000]).await, None);
    bench
        .backend
        .set_mark(&name, Some("{}".to_owned()))
        .await
        .unwrap();
    assert_eq!(found(&text).await, None, "of another version");
    let other = ReadOptions {
        map: vec![("x".to_owned(), "n".to_owned())],
        ..options.clone()
    };
    assert_ne!(
        Source::open(&path)
            .unwrap()
            .mark_name(view, &other)
            .unwrap()
            .unwrap(),
        name,
        "other options, another mark"
    );
}

#[tokio::test]
async fn batches_overlap_but_rows_of_one_entity_do_not() {
    let bench = two_columns();
    let distinct: Vec<String> = (0..6_000).map(|at| format!("e{at},1,{at}")).collect();
    let gated = Gated::new(&bench.backend, 4, usize::MAX);
    let view = &bench.views.all()[0];
    let options = options("2026-06-01", &[]);
    let text = io::Cursor::new(format!("id,x,n\n{}", distinct.join("\n")));
    let report = write_all(Arc::clone(&gated) as _, view, text, &options)
        .await
        .unwrap();
    assert_eq!(report.rows.written, 6_000);
    assert!(
        gated.most.load(Ordering::SeqCst) > 1,
        "several batches were in flight"
    );

    // The same three entities again and again, all of one time: the last one stays.
    let same: Vec<String> = (0..6_000).map(|at| format!("e{},1,{at}", at % 3)).collect();
    let text = io::Cursor::new(format!("id,x,n\n{}", same.join("\n")));
    let report = write_all(
        Gated::new(&bench.backend, 4, usize::MAX),
        view,
        text,
        &options,
    )
    .await
    .unwrap();
    assert_eq!(report.rows.written, 6_000);
    for at in 0..3 {
        let row = bench.read(&format!("e{at}")).await.unwrap();
        assert_eq!(row.values[1], Some(FeatureValue::Int(5_997 + at)));
    }
}

#[tokio::test]
async fn a_store_that_is_down_for_a_moment_gets_retries() {
    let bench = two_columns();
    let gated = Gated::new(&bench.backend, 2, usize::MAX);
    let (view, options) = (&bench.views.all()[0], options("2026-06-01", &[]));
    let rows = || {
        RowReader::new(
            view,
            Box::new(&b"id,x,n\na,1,1\n"[..]),
            None,
            &options,
            None,
        )
        .unwrap()
    };
    gated.failures.store(2, Ordering::SeqCst);
    let run = pump(&bench, Arc::clone(&gated) as _, "a").run(
        rows(),
        Mark::default(),
        std::future::pending(),
    );
    let Ended::Whole(report) = run.await.unwrap() else {
        panic!("nobody stopped it")
    };
    assert_eq!(report.rows.written, 1);
    gated.failures.store(usize::MAX, Ordering::SeqCst);
    let mut pump = pump(&bench, Arc::clone(&gated) as _, "a");
    pump.patience = Duration::from_millis(100);
    let error = pump
        .run(rows(), Mark::default(), std::future::pending())
        .await
        .unwrap_err();
    assert!(
        matches!(error, MaterializeError::Store(_)),
        "but not for ever: {error:?}"
    );
}

#[tokio::test]
async fn a_file_without_rows_is_an_error() {
    let bench = two_columns();
    for (text, options) in [
        ("", options("2026-06-01", &[])),
        ("\n\n", options("2026-06-01", &[])),
        ("id,x,n\n", options("2026-06-01", &[])),
        ("", ndjson("2026-06-01", &[])),
        ("\n  \n", ndjson("2026-06-01", &[])),
    ] {
        let error = bench.load(text.as_bytes(), &options).await.unwrap_err();
        assert!(matches!(error, MaterializeError::Empty), "{error}");
    }
}

#[tokio::test]
async fn one_row_that_cannot_be_read_takes_no_other_with_it() {
    let bench = two_columns();
    let rows = [
        r#"{"id":"max","x":1.7976931348623157e308,"n":9223372036854775807}"#,
        r#"{"id":"nan","x":NaN,"n":null}"#,
        r#"{"id":"inf","x":-Infinity,"n":1}"#,
        r#"{"id":"late","x":1,"n":1,"event_timestamp":"9999-12-31T00:00:00Z"}"#,
        r#"{"id":"twice","x":1,"x":2,"n":1}"#,
        r#"{"id":"large","x":1e400,"n":1}"#,
        r#"{"id":"lone \ud800","x":1,"n":1}"#,
        r#"{"id":"int","x":1,"n":9223372036854775808}"#,
        r#"{"id":"last","x":1,"n":1}"#,
    ];
    let report = bench
        .load(rows.join("\n").as_bytes(), &ndjson("2026-06-01", &[]))
        .await
        .unwrap();
    assert_eq!((report.rows.written, report.refused), (4, 5));
    let lines: Vec<u64> = report.refusals.iter().map(|row| row.line).collect();
    assert_eq!(lines, [4, 5, 6, 7, 8]);
    let [late, twice, ..] = &report.refusals[..] else {
        panic!("{report:?}")
    };
    assert!(
        late.reason
            .starts_with("event_timestamp 9999-12-31T00:00:00Z is too far in the future"),
        "{late:?}"
    );
    assert_eq!(
        twice.reason,
        r#"is not a JSON object: "x" is given twice in one object"#
    );
    let x = async |id: &str| bench.read(id).await.unwrap().values[0].clone();
    assert_eq!(x("max").await, Some(FeatureValue::Float(f64::MAX)));
    assert_eq!(x("nan").await, None, "as Feast stores it");
    assert_eq!(x("inf").await, Some(FeatureValue::Float(f64::NEG_INFINITY)));
    assert!(bench.read("last").await.is_some());
}
