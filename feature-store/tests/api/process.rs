//! The program itself: its subcommand, its exit codes, and the trace of a cold and of a cached
//! lookup.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use harness::{Answer, Collector, Exit, Process, SpanKind, send, wait_until};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_feature-store");
/// The parent span of the tests' requests.
const CALLER: &str = "b7ad6b7169203331";

pub(crate) const WINE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../data/wine_quality/winequality-red.csv"
);

/// The program on a file or at an address.
pub(crate) fn program(database: impl AsRef<OsStr>) -> Command {
    let mut command = harness::command(PROGRAM);
    command.env("FEATURE_STORE_DATABASE", database);
    command
}

fn materialize(database: impl AsRef<OsStr>, arguments: &[&str]) -> Output {
    program(database)
        .arg("materialize")
        .args(arguments)
        .output()
        .expect("the program starts")
}

#[test]
fn materializing_prints_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("features.db");
    let arguments = [
        "--view",
        "wine_features",
        "--file",
        WINE,
        "--map",
        "data_id=wine_id",
    ];
    let loaded = materialize(&database, &arguments);
    let expected = "wine_features: 1599 rows written, 0 older than what is stored, 0 refused\n";
    assert_eq!(
        (
            loaded.status.code(),
            String::from_utf8_lossy(&loaded.stdout).as_ref()
        ),
        (Some(0), expected)
    );

    let bad = folder.path().join("bad.csv");
    let text = std::fs::read_to_string(WINE).unwrap();
    let lines: Vec<&str> = text.lines().take(3).collect();
    std::fs::write(
        &bad,
        format!(
            "{}\n{}\n",
            lines.join("\n"),
            lines[2].replace("7.8", "sour")
        ),
    )
    .unwrap();
    let bad = bad.to_str().unwrap();
    let loaded = materialize(
        &database,
        &[
            "--view",
            "wine_features",
            "--file",
            bad,
            "--map",
            "data_id=wine_id",
        ],
    );
    let expected = format!(
        "wine_features: 2 rows written, 0 older than what is stored, 1 refused\n{bad}:4: fixed_acidity is not a float64\n"
    );
    assert_eq!(
        (
            loaded.status.code(),
            String::from_utf8_lossy(&loaded.stdout).as_ref()
        ),
        (Some(3), expected.as_str())
    );
}

#[test]
fn reads_json_lines_and_standard_input_and_keeps_refused_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (database, refused) = (
        folder.path().join("features.db"),
        folder.path().join("refused.ndjson"),
    );
    let text = std::fs::read_to_string(WINE).unwrap();
    let bad: Vec<&str> = text
        .lines()
        .take(1)
        .chain(std::iter::repeat_n("wine-0001,sour", 150))
        .collect();
    let mut child = program(&database)
        .args([
            "materialize",
            "--view",
            "wine_features",
            "--file",
            "-",
            "--map",
            "data_id=wine_id",
            "--refused",
        ])
        .arg(&refused)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(bad.join("\n").as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        said.starts_with(
            "wine_features: 0 rows written, 0 older than what is stored, 150 refused\n-:2: has 2 "
        ),
        "{said}"
    );
    assert!(
        said.ends_with(&format!(
            "and 50 more; {} has all of them\n",
            refused.display()
        )),
        "{said}"
    );
    assert_eq!(said.lines().count(), 102);
    let kept = std::fs::read_to_string(&refused).unwrap();
    let last = kept.lines().last().unwrap();
    assert_eq!(
        (kept.lines().count(), last),
        (150, r#"{"line":151,"reason":"has 2 fields instead of 13"}"#)
    );

    let names: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let object = |line: &str| {
        let value = |(at, field): (usize, &str)| {
            if at == 0 {
                json!(field)
            } else {
                json!(field.parse::<f64>().unwrap())
            }
        };
        let fields = line.split(',').enumerate().map(value);
        names
            .iter()
            .map(|&name| name.to_owned())
            .zip(fields)
            .collect::<serde_json::Map<_, _>>()
    };
    let lines: Vec<String> = text
        .lines()
        .skip(1)
        .map(|line| json!(object(line)).to_string())
        .collect();
    let file = folder.path().join("wines.ndjson");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let written = materialize(
        &database,
        &[
            "--view",
            "wine_features",
            "--file",
            file.to_str().unwrap(),
            "--map",
            "data_id=wine_id",
        ],
    );
    let said = String::from_utf8(written.stdout).unwrap();
    assert_eq!(
        said,
        "wine_features: 1599 rows written, 0 older than what is stored, 0 refused\n"
    );
}

#[test]
fn an_interrupted_run_prints_how_to_go_on_and_the_next_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let (database, file) = (
        folder.path().join("features.db"),
        folder.path().join("many.csv"),
    );
    let row = |at: usize| format!("w{at},{}", ["0.123456789"; 11].join(","));
    let wines = std::fs::read_to_string(WINE).unwrap();
    let header = wines.lines().next().unwrap().trim_end_matches(",quality");
    let rows: Vec<String> = (0..30_000).map(row).collect();
    std::fs::write(&file, format!("{header}\n{}\n", rows.join("\n"))).unwrap();
    let arguments = [
        "materialize",
        "--view",
        "wine_features",
        "--map",
        "data_id=wine_id",
        "--file",
        file.to_str().unwrap(),
    ];
    let start = || {
        let mut command = program(&database);
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let child = start();
    let journal = folder.path().join("features.db-wal");
    wait_until("rows are stored", || {
        journal.metadata().is_ok_and(|file| file.len() > 200_000)
    });
    let sent = Command::new("kill")
        .args(["-s", "INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let first = child.wait_with_output().unwrap();
    let (said, advice) = (
        String::from_utf8(first.stdout).unwrap(),
        String::from_utf8(first.stderr).unwrap(),
    );
    assert_eq!(first.status.code(), Some(130), "{said}{advice}");
    assert!(
        advice.contains("run the same command again to go on from there"),
        "{advice}"
    );
    let written: u64 = said.split(' ').nth(1).unwrap().parse().unwrap();
    assert!((500..30_000).contains(&written), "{said}");

    let second = start().wait_with_output().unwrap();
    let (printed, logged) = (
        String::from_utf8(second.stdout).unwrap(),
        String::from_utf8(second.stderr).unwrap(),
    );
    assert_eq!(
        printed, "wine_features: 30000 rows written, 0 older than what is stored, 0 refused\n",
        "of both runs together"
    );
    assert!(
        logged.contains(&format!("going on at line {}", written + 2)),
        "{written} rows, a header, the next line: {logged}"
    );
    assert_eq!(second.status.code(), Some(0));
    let third = start().wait_with_output().unwrap();
    assert!(
        !String::from_utf8_lossy(&third.stderr).contains("going on"),
        "a run that ended leaves no mark"
    );
}

#[test]
fn a_file_without_rows_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("features.db");
    let file = folder.path().join("rows.csv");
    let header = std::fs::read_to_string(WINE).unwrap();
    let header = header.lines().next().unwrap();
    for text in ["", "\n", header] {
        std::fs::write(&file, text).unwrap();
        let empty = materialize(
            &database,
            &[
                "--view",
                "wine_features",
                "--map",
                "data_id=wine_id",
                "--file",
                file.to_str().unwrap(),
            ],
        );
        assert_eq!(empty.status.code(), Some(1));
        assert_eq!(
            String::from_utf8_lossy(&empty.stderr),
            "feature-store materialize: the file cannot be materialized: the file has no rows, so nothing was written\n"
        );
    }
}

#[test]
fn a_row_of_the_far_future_is_refused_and_one_that_is_there_can_be_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("features.db");
    let views = folder.path().join("views.toml");
    let text = "[[feature_view]]\nname = \"v\"\njoin_keys = [\"id\"]\nfeatures = [{ name = \"x\", dtype = \"int64\" }]\n";
    std::fs::write(&views, text).unwrap();
    let run = |arguments: &[&str], rows: &str| {
        let file = folder.path().join("rows.csv");
        std::fs::write(&file, rows).unwrap();
        let output = program(&database)
            .env("FEATURE_STORE_FEATURE_VIEWS", &views)
            .args(arguments)
            .args(if arguments[0] == "materialize" {
                vec!["--file", file.to_str().unwrap()]
            } else {
                Vec::new()
            })
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let last = "id,x,event_timestamp\na,1,9999-12-31T00:00:00Z\n";
    let today = "id,x\na,2\n";
    let load = ["materialize", "--view", "v"];
    let (status, said) = run(&load, last);
    assert!(
        status == Some(3)
            && said.contains(
                "rows.csv:2: event_timestamp 9999-12-31T00:00:00Z is too far in the future"
            ),
        "{status:?} {said}"
    );
    let (status, said) = run(&[&load[..], &["--max-future", "3000000d"]].concat(), last);
    assert_eq!((status, said.contains("1 rows written")), (Some(0), true));
    let (status, said) = run(&load, today);
    assert_eq!(
        (status, said.contains("0 rows written, 1 older")),
        (Some(0), true),
        "{said}"
    );
    assert_eq!(
        run(&["delete", "--view", "v", "a", "b"], ""),
        (Some(0), "v: 1 rows deleted, 1 were not there\n".to_owned())
    );
    let (status, said) = run(&load, today);
    assert_eq!((status, said.contains("1 rows written")), (Some(0), true));
    assert_eq!(
        run(&["delete", "--view", "w", "a"], ""),
        (
            Some(1),
            "feature-store delete: there is no feature view \"w\"\n".to_owned()
        )
    );
}

#[test]
fn a_failed_start_prints_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("features.db");
    let unknown = materialize(&database, &["--view", "wines", "--file", WINE]);
    let text = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(
        text,
        "feature-store materialize: the file cannot be materialized: there is no feature view \"wines\"\n"
    );
    assert_eq!(unknown.status.code(), Some(1));
    let views = folder.path().join("views.toml");
    std::fs::write(&views, "[[feature_view]]\nname = 5\n").unwrap();
    let stopped = program(&database)
        .args(["--listen", "127.0.0.1:0", "--feature-views"])
        .arg(&views)
        .envs([
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
        ])
        .output()
        .unwrap();
    assert_eq!(stopped.status.code(), Some(1));
    let said = [stopped.stdout, stopped.stderr].concat();
    assert!(
        String::from_utf8_lossy(&said).contains("line 2"),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn a_cold_lookup_is_a_span_with_one_call_below_and_a_cached_one_is_marked() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("features.db");
    let arguments = [
        "--view",
        "wine_features",
        "--file",
        WINE,
        "--map",
        "data_id=wine_id",
    ];
    assert_eq!(materialize(&database, &arguments).status.code(), Some(0));
    let collector = Collector::start();
    let store = FeatureStore::start(database.to_str().unwrap(), &collector);
    let ids = [
        "0af7651916cd43dd8448eb211c80319c",
        "1af7651916cd43dd8448eb211c80319c",
        "2af7651916cd43dd8448eb211c80319c",
    ];
    for id in ids {
        store.lookup(id, &["wine-0001"]);
    }
    store.stop();

    let cold = collector.arrived(ids[0]);
    assert_eq!(cold.spans.len(), 2, "{cold:?}");
    let server = cold.span("POST /get-online-features").unwrap();
    let select = cold.span("SELECT wine_features").unwrap();
    assert_eq!(
        (server.kind, server.parent.as_deref()),
        (SpanKind::Server, Some(CALLER))
    );
    assert_eq!(
        (select.kind, select.parent.as_ref()),
        (SpanKind::Client, Some(&server.span_id))
    );
    let expected = [
        ("db.system.name", "sqlite"),
        ("db.operation.name", "SELECT"),
        ("db.collection.name", "wine_features"),
    ];
    assert_eq!(
        select.attributes,
        expected
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .into()
    );
    assert_eq!(server.attributes["ml.cache.result"], "miss");

    for id in &ids[1..] {
        let cached = collector.arrived(id);
        assert_eq!(
            harness::tree(&cached),
            "POST /get-online-features SERVER\n",
            "no call of the engine, no span of one"
        );
        assert_eq!(cached.spans[0].attributes["ml.cache.result"], "hit");
    }
}

/// The feature store as a process that exports its spans.
pub(crate) struct FeatureStore {
    url: String,
    process: Process,
}

impl FeatureStore {
    pub(crate) fn start(database: &str, collector: &Collector) -> Self {
        Self::start_with(database, collector, &[])
    }

    /// The same with more variables.
    pub(crate) fn start_with(
        database: &str,
        collector: &Collector,
        variables: &[(&str, &str)],
    ) -> Self {
        let endpoint = collector.endpoint();
        let common = [
            ("FEATURE_STORE_DATABASE", database),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
        ];
        let args = ["--listen", "127.0.0.1:0", "--exit-with-parent"];
        let variables = [&common[..], variables].concat();
        let process = Process::start(PROGRAM, &args, &variables).expect("the program starts");
        Self {
            url: process.url("server.listening").expect("it listens"),
            process,
        }
    }

    /// Sends a request in the trace `trace_id`.
    pub(crate) fn post(&self, path: &str, trace_id: &str, body: &Value) -> Answer {
        let traceparent = format!("00-{trace_id}-{CALLER}-03");
        let headers = [("traceparent", &*traceparent)];
        let url = format!("{}{path}", self.url);
        send("POST", &url, &headers, body.to_string().as_bytes()).expect("an answer")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        send("GET", &format!("{}{path}", self.url), &[], b"").expect("an answer")
    }

    pub(crate) fn lookup(&self, trace_id: &str, ids: &[&str]) {
        let body = json!({"features": ["wine_features:alcohol", "wine_features:ph"], "entities": {"wine_id": ids}});
        let answer = self.post("/get-online-features", trace_id, &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("[9.4]"), "{}", answer.text());
    }

    pub(crate) fn stop(mut self) -> Exit {
        let exit = self.process.stop().expect("it ends");
        assert!(exit.success(), "{exit:?}");
        exit
    }
}
