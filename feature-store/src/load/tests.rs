//! CSV files, good and bad, into a real database.

use super::*;
use crate::backend::sqlite::SqliteBackend;
use crate::value::FeatureValue;
use crate::views::Views;

struct Bench {
    _folder: tempfile::TempDir,
    backend: SqliteBackend,
    views: Views,
}

fn bench(views: Views) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let backend = SqliteBackend::open(&folder.path().join("features.db"), &views).unwrap();
    Bench { _folder: folder, backend, views }
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

fn options(event_time: &str, map: &[(&str, &str)]) -> LoadOptions {
    let map = map.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    LoadOptions { map, event_time: EventTime::parse(event_time).unwrap() }
}

impl Bench {
    async fn load(&self, text: &[u8], options: &LoadOptions) -> Result<LoadReport, LoadError> {
        load_csv(&self.backend, &self.views.all()[0], text, options).await
    }

    async fn read(&self, id: &str) -> Option<Row> {
        let keys = [EntityKey::from_texts(&[id])];
        self.backend.read(&self.views.all()[0], &keys).await.unwrap().remove(0)
    }
}

#[tokio::test]
async fn loads_the_wine_data() {
    let bench = bench(Views::load(None).unwrap());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/wine_quality/winequality-red.csv");
    let options = options("2026-06-01", &[("data_id", "wine_id")]);
    let report = load_csv(&bench.backend, &bench.views.all()[0], File::open(path).unwrap(), &options).await.unwrap();
    assert_eq!(report, LoadReport { rows: Written { written: 1_599, outdated: 0 }, ..LoadReport::default() });
    let first = bench.read("wine-0001").await.unwrap();
    let values = [7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4];
    assert!(first.values.iter().eq(values.map(|value| Some(FeatureValue::Float(value))).iter()), "{first:?}");
    assert_eq!(first.event_time, options.event_time);
    assert!(bench.read("wine-1599").await.is_some() && bench.read("wine-1600").await.is_none());
}

#[tokio::test]
async fn bad_rows_are_left_out_and_named_by_line() {
    let bench = two_columns();
    let text =
        b"id,x,n,ignored\na,1.5,2,z\nb,much,2,z\n\nc,1,2\nd,,,z\n\"e\ne\",1,2.5,z\n,1,1,z\nf,\xff,1,z\ng,1,1,z\n";
    let report = bench.load(text, &options("2026-06-01", &[])).await.unwrap();
    assert_eq!(report.rows, Written { written: 3, outdated: 0 });
    let told: Vec<(u64, &str)> = report.refusals.iter().map(|row| (row.line, row.reason.as_str())).collect();
    let expected = [
        (3, "x is not a float64"),
        (5, "has 3 fields instead of 4"),
        (7, "n is not a int64"),
        (9, "id is empty"),
        (10, "is not UTF-8"),
    ];
    assert_eq!((told.as_slice(), report.refused), (&expected[..], 5));
    assert_eq!(*bench.read("d").await.unwrap().values, [None, None], "an empty field is null");
    assert!(bench.read("g").await.is_some() && bench.read("f").await.is_none());
}

#[tokio::test]
async fn lines_are_counted_as_editors_do() {
    for end in ["\n", "\r\n"] {
        for last in ["", "\n", "\r\n", "\n\n"] {
            let bench = two_columns();
            let rows = ["id,n,x", "a,1,1", "", "", "b,?,2", "\"c", "c\",?,2", "d,1,", "e,?,3"];
            let report = bench.load((rows.join(end) + last).as_bytes(), &options("2026-06-01", &[])).await.unwrap();
            let lines: Vec<u64> = report.refusals.iter().map(|row| row.line).collect();
            assert_eq!(lines, [5, 6, 9], "lines end with {end:?}, the file with {last:?}");
            assert_eq!(*bench.read("d").await.unwrap().values, [None, Some(FeatureValue::Int(1))], "no CR in a field");
        }
    }
}

#[tokio::test]
async fn event_times_of_the_file_count() {
    let bench = two_columns();
    let text = b"id,x,n,event_timestamp\na,1,1,2026-06-02T00:00:00Z\nb,1,1,soon\n";
    let report = bench.load(text, &options("2026-06-01", &[])).await.unwrap();
    assert_eq!(report.refusals, [RefusedRow { line: 3, reason: "event_timestamp is not an ISO 8601 time".to_owned() }]);
    assert_eq!(Some(bench.read("a").await.unwrap().event_time), EventTime::parse("2026-06-02"));
    let older = bench.load(b"id,x,n\na,9,9\n", &options("2026-06-01", &[])).await.unwrap();
    assert_eq!(older.rows, Written { written: 0, outdated: 1 });
    assert_eq!(bench.read("a").await.unwrap().values[1], Some(FeatureValue::Int(1)), "the newer row stays");
}

#[tokio::test]
async fn the_header_must_have_every_column_once() {
    let bench = two_columns();
    let none = options("2026-06-01", &[]);
    let error = bench.load(b"id,x\na,1\n", &none).await.unwrap_err();
    assert_eq!(error.to_string(), r#"the file must have exactly one column "n"; it has id, x"#);
    let error = bench.load(b"id,x,n,n\na,1,1,1\n", &none).await.unwrap_err();
    assert_eq!(error.to_string(), r#"the file must have exactly one column "n"; it has id, x, n, n"#);
    let error = bench.load(b"", &none).await.unwrap_err();
    assert!(matches!(error, LoadError::Column { .. }), "{error}");
    let mapped = bench.load(b"ID,x,m\na,1,5\n", &options("2026-06-01", &[("ID", "id"), ("m", "n")])).await.unwrap();
    assert_eq!(mapped.rows.written, 1);
    assert_eq!(bench.read("a").await.unwrap().values[1], Some(FeatureValue::Int(5)));
}

#[tokio::test]
async fn many_bad_rows_are_counted_and_not_kept() {
    let bench = two_columns();
    let text = format!("id,x,n\n{}", "a,?,1\n".repeat(1_000));
    let report = bench.load(text.as_bytes(), &options("2026-06-01", &[])).await.unwrap();
    assert_eq!((report.refused, report.refusals.len(), report.rows), (1_000, REPORTED, Written::default()));
}

#[test]
fn options_are_read() {
    assert_eq!(mapping("a=b"), Ok(("a".to_owned(), "b".to_owned())));
    for wrong in ["a", "=b", "a=", ""] {
        assert!(mapping(wrong).is_err(), "{wrong}");
    }
    assert_eq!(event_time("2026-06-01").ok(), EventTime::parse("2026-06-01T00:00:00Z"));
    assert!(event_time("soon").is_err());
}
