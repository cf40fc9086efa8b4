//! The program on a real Redis that fails: every request is answered in time, trace and log say why
//! it failed, and the program recovers by itself. docs/feature-store.md has the results.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Answer, Collector, SpanData, SpanKind, wait_until};
use serde_json::{Value, json};

use super::process::{FeatureStore, WINE, program};
use super::redis_server::RedisServer;

/// A feature store without a cache on a server that has the wines.
struct Bench {
    server: RedisServer,
    collector: Collector,
    store: FeatureStore,
    asked: AtomicUsize,
}

/// The time limit of one call of Redis.
const TIMEOUT: Duration = Duration::from_millis(500);

/// The time limit of an answer of the feature store, with room for a busy machine.
const LIMIT: Duration = Duration::from_secs(2);

impl Bench {
    fn start(options: &[&str]) -> Self {
        let server = RedisServer::start(options);
        materialize(&server.url());
        let url = server.url();
        Self::with(server, &url, &[])
    }

    fn with(server: RedisServer, url: &str, variables: &[(&str, &str)]) -> Self {
        // A test under load makes more traces than the explorer holds by default.
        let collector =
            Collector::start_with(&["--max-traces", "1000000", "--max-bytes", "268435456"]);
        let timeout = format!("{}ms", TIMEOUT.as_millis());
        let usual = [
            ("FEATURE_STORE_CACHE_CAPACITY", "0"),
            ("REDIS_TIMEOUT", &timeout),
        ];
        let variables = [&usual[..], variables].concat();
        let store = FeatureStore::start_with(url, &collector, &variables);
        Self {
            server,
            collector,
            store,
            asked: AtomicUsize::new(0),
        }
    }

    /// Looks two wines up and returns the status. Every answer comes in time and in the form of the
    /// protocol.
    fn read(&self) -> u16 {
        let body = json!({"features": ["wine_features:alcohol"], "entities": {"wine_id": ["wine-0001", "wine-0002"]}});
        let answer = self.post("/get-online-features", &body);
        let text = answer.text();
        assert!(answer.status != 200 || text.contains("[9.4,9.8]"), "{text}");
        answer.status
    }

    fn write(&self) -> u16 {
        let mut df = serde_json::Map::new();
        let features = std::fs::read_to_string(WINE).expect("the wines are there");
        let names = features
            .lines()
            .next()
            .expect("a header")
            .trim_end_matches(",quality")
            .split(',')
            .skip(1);
        df.extend(names.map(|name| (name.to_owned(), json!([1.5]))));
        df.insert("wine_id".to_owned(), json!(["new"]));
        df.insert("event_timestamp".to_owned(), json!(["2026-06-01T10:00:00"]));
        self.post(
            "/write-to-online-store",
            &json!({"feature_view_name": "wine_features", "df": df}),
        )
        .status
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        let trace_id = format!("{:032x}", self.asked.fetch_add(1, Ordering::Relaxed) + 1);
        let begun = Instant::now();
        let answer = self.store.post(path, &trace_id, body);
        let (status, taken) = (answer.status, begun.elapsed());
        assert!(taken < LIMIT, "{status} after {taken:?}");
        assert!([200, 500, 503].contains(&status), "{answer:?}");
        if status == 503 {
            assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
            assert!(answer.text().contains("FeastError"), "{answer:?}");
        }
        answer
    }

    /// Waits until lookups or writes are answered again, and returns how long that took.
    fn recovered(&self, call: impl Fn(&Self) -> u16) -> Duration {
        let begun = Instant::now();
        wait_until("it recovers", || call(self) == 200);
        begun.elapsed()
    }

    /// Stops the feature store.
    fn end(self) -> Ended {
        let log = self.store.stop().output();
        let asked = self.asked.load(Ordering::Relaxed);
        let traces = self.collector.traces();
        assert!(traces.len() <= asked, "a request is one trace at most");
        let mut failures: Vec<Failure> = traces
            .into_iter()
            .flat_map(|trace| trace.spans)
            .filter_map(|span| Failure::of(&span))
            .collect();
        failures.sort();
        failures.dedup();
        Ended { failures, log }
    }
}

/// What a feature store exported and logged.
struct Ended {
    /// Each kind of failed call of Redis once.
    failures: Vec<Failure>,
    log: String,
}

/// A failed call of Redis in a trace.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Failure {
    span: String,
    error_type: String,
    status_code: Option<String>,
}

impl Failure {
    fn of(span: &SpanData) -> Option<Self> {
        let error_type = span.text("error.type")?;
        if span.kind != SpanKind::Client {
            return None;
        }
        assert_eq!(span.attributes["db.system.name"], "redis");
        Some(Self {
            span: span.name.clone(),
            error_type,
            status_code: span.text("db.response.status_code"),
        })
    }

    /// A failure whose error type is the code of Redis's answer.
    fn coded(span: &str, code: &str) -> Self {
        Self {
            span: span.to_owned(),
            error_type: code.to_owned(),
            status_code: Some(code.to_owned()),
        }
    }
}

impl Ended {
    fn error_types(&self) -> Vec<&str> {
        self.failures
            .iter()
            .map(|failure| failure.error_type.as_str())
            .collect()
    }
}

fn materialize(url: &str) {
    let arguments = [
        "materialize",
        "--view",
        "wine_features",
        "--map",
        "data_id=wine_id",
        "--file",
        WINE,
    ];
    let output = program(url)
        .args(arguments)
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        said,
        "wine_features: 1599 rows written, 0 older than what is stored, 0 refused\n"
    );
}

#[test]
#[ignore = "starts servers of its own with .ci/components"]
fn a_lookup_is_a_span_by_the_conventions() {
    let server = RedisServer::start(&[]);
    materialize(&server.url());
    let (collector, database) = (Collector::start(), format!("{}/0", server.url()));
    let store = FeatureStore::start(&database, &collector);
    let ids = [
        "0af7651916cd43dd8448eb211c80319c",
        "1af7651916cd43dd8448eb211c80319c",
    ];
    store.lookup(ids[0], &["wine-0001"]);
    let many = json!({"features": ["wine_features:alcohol"], "entities": {"wine_id": ["wine-0002", "nobody", "wine-0003"]}});
    let answer = store.post("/get-online-features", ids[1], &many);
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("[9.8,null,9.8]"), "{answer:?}");
    store.stop();
    let calls: Vec<SpanData> = ids
        .into_iter()
        .flat_map(|id| collector.arrived(id).spans)
        .filter(|span| span.kind == SpanKind::Client)
        .collect();
    let names: Vec<&str> = calls.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(
        names,
        ["HMGET wine_features", "PIPELINE HMGET wine_features"]
    );
    let common = |operation: &str| {
        [
            ("db.system.name", json!("redis")),
            ("db.operation.name", json!(operation)),
            ("db.collection.name", json!("wine_features")),
            ("db.namespace", json!("0")),
            ("server.address", json!("127.0.0.1")),
            ("server.port", json!(server.port)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    };
    assert_eq!(calls[0].attributes, common("HMGET").into());
    let mut batch: BTreeMap<String, Value> = common("PIPELINE HMGET").into();
    batch.insert("db.operation.batch.size".to_owned(), json!(3));
    assert_eq!(calls[1].attributes, batch);
}

#[test]
#[ignore = "starts servers of its own with .ci/components"]
fn a_server_that_is_killed_and_started_again_under_load() {
    // What was acknowledged is on the disk, so the restarted server has it.
    let bench = Bench::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (ended, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    if bench.read() != 200 {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let asked = || bench.asked.load(Ordering::Relaxed);
        wait_until("lookups are answered", || asked() > 100);
        assert_eq!(refused.load(Ordering::Relaxed), 0);
        bench.server.kill();
        let before = asked();
        wait_until("lookups are refused", || {
            refused.load(Ordering::Relaxed) > 20 && asked() > before + 50
        });
        bench.server.start_again();
        let back = bench.recovered(Bench::read);
        eprintln!(
            "killed and started again: {} lookups refused, back after {back:?}",
            refused.load(Ordering::Relaxed)
        );
        let (answered, failed) = (asked(), refused.load(Ordering::Relaxed));
        wait_until("lookups are answered again", || asked() > answered + 100);
        assert!(
            refused.load(Ordering::Relaxed) <= failed + 4,
            "none is refused any more"
        );
        ended.store(true, Ordering::Relaxed);
    });
    let ended = bench.end();
    assert!(
        ended
            .error_types()
            .iter()
            .all(|kind| ["connection_refused", "connection_lost", "LOADING"].contains(kind)),
        "{:?}",
        ended.failures
    );
    let count = |event: &str| ended.log.matches(event).count();
    assert_eq!(
        (count("backend_unreachable"), count("backend_reachable")),
        (1, 1),
        "the outage is logged once: {}",
        ended.log
    );
}

#[test]
#[ignore = "starts servers of its own with .ci/components"]
fn a_server_that_hangs() {
    let bench = Bench::start(&["--enable-debug-command", "yes"]);
    assert_eq!(bench.read(), 200);
    bench.server.signal("STOP");
    assert_eq!((bench.read(), bench.write()), (503, 503));
    bench.server.signal("CONT");
    let frozen = bench.recovered(Bench::read);
    bench.server.cli(&["client", "pause", "1500", "all"]);
    assert_eq!(bench.read(), 503);
    let paused = bench.recovered(Bench::read);
    let port = bench.server.port.to_string();
    let mut asleep = std::process::Command::new("redis-cli")
        .args(["-p", &port, "debug", "sleep", "1.5"])
        .spawn()
        .unwrap();
    wait_until("it sleeps", || bench.read() == 503);
    let slept = bench.recovered(Bench::read);
    asleep.wait().unwrap();
    bench.recovered(Bench::write);
    eprintln!(
        "back after SIGCONT {frozen:?}, within CLIENT PAUSE 1500 {paused:?}, within DEBUG SLEEP 1.5 {slept:?}"
    );
    let ended = bench.end();
    let failures = &ended.failures;
    assert!(
        ended.error_types().iter().all(|kind| *kind == "timeout"),
        "{failures:?}"
    );
    assert!(
        failures
            .iter()
            .any(|failure| failure.span == "EVALSHA wine_features"),
        "{failures:?}"
    );
}

#[test]
#[ignore = "starts servers of its own with .ci/components"]
fn a_wrong_password_is_never_shown_and_a_right_one_needs_no_restart() {
    let server = RedisServer::start(&[]);
    materialize(&server.url());
    server.cli(&["config", "set", "requirepass", "right-secret"]);
    let url = server.url();
    let bench = Bench::with(server, &url, &[("REDIS_PASSWORD", "wrong-secret")]);
    assert_eq!(bench.read(), 500, "nothing that passes by itself");
    bench.server.cli(&[
        "-a",
        "right-secret",
        "config",
        "set",
        "requirepass",
        "wrong-secret",
    ]);
    bench.recovered(Bench::read);
    // A rotation changes the password under an open connection; Redis asks only new connections for
    // it.
    bench.server.cli(&[
        "-a",
        "wrong-secret",
        "config",
        "set",
        "requirepass",
        "other-secret",
    ]);
    bench
        .server
        .cli(&["-a", "other-secret", "client", "kill", "type", "normal"]);
    assert_eq!(bench.read(), 500);
    let Ended { failures, log } = bench.end();
    let expected = Failure::coded("PIPELINE HMGET wine_features", "WRONGPASS");
    assert_eq!(failures, [expected]);
    assert!(
        log.contains("backend_unreachable") && !log.contains("secret"),
        "{log}"
    );
}

#[test]
#[ignore = "starts servers of its own with .ci/components"]
fn a_password_may_be_in_the_address_and_is_never_shown() {
    let server = RedisServer::start(&["--requirepass", "right-secret"]);
    let url = server.url().replace("redis://", "redis://:right-secret@");
    materialize(&url);
    let help = program(&url)
        .arg("--help")
        .env("REDIS_PASSWORD", "right-secret")
        .output()
        .unwrap();
    assert!(help.status.success() && !String::from_utf8_lossy(&help.stdout).contains("secret"));
    let without = server.url();
    let bench = Bench::with(server, &without, &[]);
    assert_eq!(bench.read(), 500);
    let expected = Failure::coded("PIPELINE HMGET wine_features", "NOAUTH");
    assert_eq!(bench.end().failures, [expected]);
}

#[test]
#[ignore = "starts servers of its own with .ci/components"]
fn a_replica_and_a_full_memory_refuse_writes_and_answer_lookups() {
    let bench = Bench::start(&[]);
    let master = RedisServer::start(&[]);
    materialize(&master.url());
    bench
        .server
        .cli(&["replicaof", "127.0.0.1", &master.port.to_string()]);
    assert_eq!(bench.write(), 503);
    bench.recovered(Bench::read);
    bench.server.cli(&["replicaof", "no", "one"]);
    bench.recovered(Bench::write);

    bench
        .server
        .cli(&["config", "set", "maxmemory-policy", "noeviction"]);
    bench.server.cli(&["config", "set", "maxmemory", "1mb"]);
    assert_eq!((bench.write(), bench.read()), (503, 200));
    bench.server.cli(&["config", "set", "maxmemory", "0"]);
    bench.recovered(Bench::write);
    let mut failures = bench.end().failures;
    failures.retain(|failure| failure.span.starts_with("EVALSHA"));
    let write = |code: &str| Failure::coded("EVALSHA wine_features", code);
    assert_eq!(failures, [write("OOM"), write("READONLY")]);
}

#[test]
#[ignore = "starts servers of its own with .ci/components"]
fn a_run_goes_on_while_the_server_is_restarted() {
    let server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("many.csv");
    let wines = std::fs::read_to_string(WINE).expect("the wines are there");
    let header = wines.lines().next().expect("a header");
    let row = |at: usize| format!("w{at},{}", ["0.5"; 12].join(","));
    let rows: Vec<String> = (0..100_000).map(row).collect();
    std::fs::write(&file, format!("{header}\n{}\n", rows.join("\n")))
        .expect("the folder is writable");
    let mut command = program(server.url());
    command
        .args([
            "materialize",
            "--view",
            "wine_features",
            "--map",
            "data_id=wine_id",
            "--file",
        ])
        .arg(&file);
    let child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let stored = |server: &RedisServer| {
        server
            .cli(&["dbsize"])
            .trim()
            .parse::<u64>()
            .expect("a number")
    };
    wait_until("rows are stored", || stored(&server) > 2_000);
    server.kill();
    server.start_again();
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said,
        "wine_features: 100000 rows written, 0 older than what is stored, 0 refused\n"
    );
    assert_eq!(stored(&server), 100_000, "and there is no mark any more");
}
