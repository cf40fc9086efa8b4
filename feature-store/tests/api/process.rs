//! The program itself: its subcommand, its exit codes, and the trace of a cold and of a cached lookup.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use serde_json::{Value, json};

pub(crate) const WINE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../data/wine_quality/winequality-red.csv"
);

/// The program on a file or at an address.
pub(crate) fn program(database: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_feature-store"));
    command.env_clear().env("FEATURE_STORE_DATABASE", database);
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
fn writes_a_file_and_says_so() {
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
fn an_interrupted_run_says_how_to_go_on_and_the_next_one_does() {
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
    super::redis_server::eventually("rows are stored", || {
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
    let (said, told) = (
        String::from_utf8(second.stdout).unwrap(),
        String::from_utf8(second.stderr).unwrap(),
    );
    assert_eq!(
        said, "wine_features: 30000 rows written, 0 older than what is stored, 0 refused\n",
        "of both runs together"
    );
    assert!(
        told.contains(&format!("going on at line {}", written + 2)),
        "{written} rows, a header, the next line: {told}"
    );
    assert_eq!(second.status.code(), Some(0));
    let third = start().wait_with_output().unwrap();
    assert!(
        !String::from_utf8_lossy(&third.stderr).contains("going on"),
        "a run that ended leaves no mark"
    );
}

#[test]
fn says_why_it_cannot_start() {
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
fn a_cold_lookup_is_a_span_with_one_call_below_and_a_cached_one_says_so() {
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
    let mut process = Process::start(&database, &collector.endpoint);
    let ids = [
        "0af7651916cd43dd8448eb211c80319c",
        "1af7651916cd43dd8448eb211c80319c",
        "2af7651916cd43dd8448eb211c80319c",
    ];
    for id in ids {
        process.lookup(id, &["wine-0001"]);
    }
    process.stop();
    let spans = collector.spans();
    let of =
        |id: &str| -> Vec<&Value> { spans.iter().filter(|span| span["traceId"] == id).collect() };

    let cold = of(ids[0]);
    assert_eq!(cold.len(), 2, "{cold:?}");
    let server = cold
        .iter()
        .find(|span| span["name"] == "POST /get-online-features")
        .expect("the SERVER span");
    let select = cold
        .iter()
        .find(|span| span["name"] == "SELECT wine_features")
        .expect("the span of the engine");
    assert_eq!(
        (kind(server), &server["parentSpanId"]),
        (SERVER, &json!("b7ad6b7169203331"))
    );
    assert_eq!(
        (kind(select), &select["parentSpanId"]),
        (CLIENT, &server["spanId"])
    );
    let expected = [
        ("db.system.name", "sqlite"),
        ("db.operation.name", "SELECT"),
        ("db.collection.name", "wine_features"),
    ];
    assert_eq!(
        attributes(select),
        expected.map(|(name, value)| (name.to_owned(), json!(value)))
    );
    let result = |span: &Value| {
        attributes(span)
            .into_iter()
            .find(|(name, _)| name == "ml.cache.result")
            .map(|(_, value)| value)
    };
    assert_eq!(result(server), Some(json!("miss")));

    for id in &ids[1..] {
        let cached = of(id);
        let names: Vec<&Value> = cached.iter().map(|span| &span["name"]).collect();
        assert_eq!(
            names,
            ["POST /get-online-features"],
            "no call of the engine, no span of one"
        );
        assert_eq!(result(cached[0]), Some(json!("hit")));
    }
}

const SERVER: i64 = 2;
pub(crate) const CLIENT: i64 = 3;

pub(crate) fn kind(span: &Value) -> i64 {
    span["kind"]
        .as_i64()
        .expect("a number, as OTLP/JSON wants it")
}

pub(crate) fn attributes(span: &Value) -> Vec<(String, Value)> {
    let pair = |attribute: &Value| {
        let value = attribute["value"]
            .as_object()
            .and_then(|value| value.values().next())
            .cloned();
        (
            attribute["key"].as_str().expect("a key").to_owned(),
            value.unwrap_or_default(),
        )
    };
    span["attributes"]
        .as_array()
        .map(|all| all.iter().map(pair).collect())
        .unwrap_or_default()
}

/// The program with a lifeline: it stops when its standard input is closed.
pub(crate) struct Process {
    child: Child,
    address: String,
    /// Everything that it wrote to its log.
    pub(crate) log: Arc<Mutex<String>>,
}

impl Process {
    pub(crate) fn start(database: impl AsRef<OsStr>, endpoint: &str) -> Self {
        Self::start_with(database, endpoint, &[])
    }

    /// The same with more variables.
    pub(crate) fn start_with(
        database: impl AsRef<OsStr>,
        endpoint: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut child = program(database)
            .args(["--listen", "127.0.0.1:0", "--exit-with-parent"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
            .envs([
                ("OTEL_METRICS_EXPORTER", "none"),
                ("OTEL_LOGS_EXPORTER", "none"),
            ])
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let line = lines
            .find_map(|line| line.ok().filter(|line| line.contains("server.listening")))
            .expect("it listens");
        let line: Value =
            serde_json::from_str(&line).expect("logs are JSON where there is no terminal");
        let url = line["url"]
            .as_str()
            .expect("the log line tells the address");
        // Somebody must go on reading, or the program would one day wait for room in the pipe.
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| kept.lock().expect("no panic").push_str(&line));
        });
        Self {
            address: url.trim_start_matches("http://").to_owned(),
            child,
            log,
        }
    }

    /// Status, head and body of the answer to a request.
    pub(crate) fn post(&self, path: &str, trace_id: &str, body: &Value) -> (u16, String, String) {
        let (mut stream, body) = (
            TcpStream::connect(&self.address).expect("it listens"),
            body.to_string(),
        );
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ntraceparent: 00-{trace_id}-b7ad6b7169203331-03\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    pub(crate) fn lookup(&self, trace_id: &str, ids: &[&str]) {
        let body = json!({"features": ["wine_features:alcohol", "wine_features:ph"], "entities": {"wine_id": ids}});
        let (status, _, answer) = self.post("/get-online-features", trace_id, &body);
        assert!(
            status == 200 && answer.contains("[9.4]"),
            "{status} {answer}"
        );
    }

    pub(crate) fn stop(&mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only for a test that failed before `stop`; a child that has ended is not hurt.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A place for OTLP/JSON.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    bodies: Mutex<mpsc::Receiver<Value>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (sender, bodies) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || receive(stream, &sender));
            }
        });
        Self {
            endpoint,
            bodies: Mutex::new(bodies),
        }
    }

    /// All spans so far; the sender has ended, and it does so only after its last export was answered.
    pub(crate) fn spans(&self) -> Vec<Value> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let bodies: Vec<Value> = self.bodies.lock().expect("no panic").try_iter().collect();
        let resources = bodies
            .into_iter()
            .flat_map(move |body| list(&body["resourceSpans"]));
        let scopes = resources.flat_map(move |resource| list(&resource["scopeSpans"]));
        scopes
            .flat_map(move |scope| list(&scope["spans"]))
            .collect()
    }
}

/// Answers requests of one connection until it is closed.
fn receive(stream: TcpStream, sender: &mpsc::Sender<Value>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the whole body");
        sender
            .send(serde_json::from_slice(&body).expect("OTLP/JSON"))
            .expect("the test waits");
        reader
            .get_mut()
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            )
            .expect("it listens");
    }
}
