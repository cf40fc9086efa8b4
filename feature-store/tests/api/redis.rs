//! The program on a real Redis that fails: every request has an answer in time, the trace and the log tell why, and nobody has to
//! restart anything. What was seen stands in docs/feature-store.md.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::process::{CLIENT, Collector, Process, WINE, attributes, kind, program};
use super::redis_server::{RedisServer, eventually};

/// A feature store without a cache on a server that has the wines.
struct Bench {
    server: RedisServer,
    collector: Collector,
    store: Process,
    asked: AtomicUsize,
}

/// One call of Redis may take so long.
const TIMEOUT: Duration = Duration::from_millis(500);

/// And an answer of the feature store no longer than this; the machine may be busy.
const LIMIT: Duration = Duration::from_secs(2);

impl Bench {
    fn start(options: &[&str]) -> Self {
        let server = RedisServer::start(options);
        materialize(&server.url());
        let url = server.url();
        Self::with(server, &url, &[])
    }

    fn with(server: RedisServer, url: &str, variables: &[(&str, &str)]) -> Self {
        let collector = Collector::start();
        let timeout = format!("{}ms", TIMEOUT.as_millis());
        let usual = [
            ("FEATURE_STORE_CACHE_CAPACITY", "0"),
            ("REDIS_TIMEOUT", &timeout),
        ];
        let store =
            Process::start_with(url, &collector.endpoint, &[&usual[..], variables].concat());
        Self {
            server,
            collector,
            store,
            asked: AtomicUsize::new(0),
        }
    }

    /// A lookup of two wines; its status. Whatever it is, it comes in time and in the form that clients understand.
    fn read(&self) -> u16 {
        let body = json!({"features": ["wine_features:alcohol"], "entities": {"wine_id": ["wine-0001", "wine-0002"]}});
        let (status, body) = self.post("/get-online-features", &body);
        assert!(status != 200 || body.contains("[9.4,9.8]"), "{body}");
        status
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
        .0
    }

    fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let trace = format!("{:032x}", self.asked.fetch_add(1, Ordering::Relaxed) + 1);
        let begun = Instant::now();
        let (status, head, body) = self.store.post(path, &trace, body);
        assert!(
            begun.elapsed() < LIMIT,
            "{status} after {:?}",
            begun.elapsed()
        );
        assert!([200, 500, 503].contains(&status), "{status} {body}");
        if status == 503 {
            assert!(
                head.contains("retry-after: 1") && body.contains("FeastError"),
                "{head} {body}"
            );
        }
        (status, body)
    }

    /// Waits until lookups or writes are answered again; how long that took.
    fn recovered(&self, call: impl Fn(&Self) -> u16) -> Duration {
        let begun = Instant::now();
        eventually("it recovers", || call(self) == 200);
        begun.elapsed()
    }

    /// Ends the feature store, and hands out all failed spans of Redis by operation, error type and status code.
    fn failures(mut self) -> Vec<(String, String, Value)> {
        self.store.stop();
        let spans = self.collector.spans();
        let of = |span: &Value| {
            let all = attributes(span);
            let value = |name: &str| {
                all.iter()
                    .find(|(key, _)| key == name)
                    .map(|(_, value)| value.clone())
            };
            let error = value("error.type")?.as_str()?.to_owned();
            (kind(span) == CLIENT).then(|| {
                assert_eq!(value("db.system.name"), Some(json!("redis")));
                (
                    span["name"].as_str().unwrap_or_default().to_owned(),
                    error,
                    value("db.response.status_code").unwrap_or_default(),
                )
            })
        };
        let mut failures: Vec<_> = spans.iter().filter_map(of).collect();
        failures.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        failures.dedup();
        failures
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

fn words(failures: &[(String, String, Value)]) -> Vec<&str> {
    failures
        .iter()
        .map(|(_, error, _)| error.as_str())
        .collect()
}

#[test]
#[ignore = "starts servers of its own with .ci/components"]
fn a_lookup_is_a_span_by_the_conventions() {
    let server = RedisServer::start(&[]);
    materialize(&server.url());
    let (collector, database) = (Collector::start(), format!("{}/0", server.url()));
    let mut store = Process::start(&database, &collector.endpoint);
    store.lookup("0af7651916cd43dd8448eb211c80319c", &["wine-0001"]);
    let many = json!({"features": ["wine_features:alcohol"], "entities": {"wine_id": ["wine-0002", "nobody", "wine-0003"]}});
    let (status, _, body) = store.post(
        "/get-online-features",
        "1af7651916cd43dd8448eb211c80319c",
        &many,
    );
    assert!(status == 200 && body.contains("[9.8,null,9.8]"), "{body}");
    store.stop();
    let spans = collector.spans();
    let redis: Vec<&Value> = spans.iter().filter(|span| kind(span) == CLIENT).collect();
    let names: Vec<&Value> = redis.iter().map(|span| &span["name"]).collect();
    assert_eq!(
        names,
        ["HMGET wine_features", "PIPELINE HMGET wine_features"]
    );
    let port = server.port.to_string();
    let common = |operation: &str| {
        [
            ("db.system.name", json!("redis")),
            ("db.operation.name", json!(operation)),
            ("db.collection.name", json!("wine_features")),
            ("db.namespace", json!("0")),
            ("server.address", json!("127.0.0.1")),
            ("server.port", json!(port)),
        ]
    };
    let sorted = |mut all: Vec<(String, Value)>| {
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    };
    let owned = |all: &[(&str, Value)]| {
        sorted(
            all.iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
        )
    };
    assert_eq!(sorted(attributes(redis[0])), owned(&common("HMGET")));
    let batch = [
        &common("PIPELINE HMGET")[..],
        &[("db.operation.batch.size", json!("3"))],
    ]
    .concat();
    assert_eq!(sorted(attributes(redis[1])), owned(&batch));
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
        eventually("lookups are answered", || asked() > 100);
        assert_eq!(refused.load(Ordering::Relaxed), 0);
        bench.server.kill();
        let before = asked();
        eventually("lookups are refused", || {
            refused.load(Ordering::Relaxed) > 20 && asked() > before + 50
        });
        bench.server.start_again();
        let back = bench.recovered(Bench::read);
        eprintln!(
            "killed and started again: {} lookups refused, back after {back:?}",
            refused.load(Ordering::Relaxed)
        );
        let (answered, failed) = (asked(), refused.load(Ordering::Relaxed));
        eventually("lookups are answered again", || asked() > answered + 100);
        assert!(
            refused.load(Ordering::Relaxed) <= failed + 4,
            "none is refused any more"
        );
        ended.store(true, Ordering::Relaxed);
    });
    let log = std::sync::Arc::clone(&bench.store.log);
    let failures = bench.failures();
    assert!(
        words(&failures)
            .iter()
            .all(|word| ["connection_refused", "connection_lost", "LOADING"].contains(word)),
        "{failures:?}"
    );
    let log = log.lock().unwrap();
    let told = |event: &str| log.matches(event).count();
    assert_eq!(
        (told("backend_unreachable"), told("backend_reachable")),
        (1, 1),
        "the log tells it once: {log}"
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
    eventually("it sleeps", || bench.read() == 503);
    let slept = bench.recovered(Bench::read);
    asleep.wait().unwrap();
    bench.recovered(Bench::write);
    eprintln!(
        "back after SIGCONT {frozen:?}, within CLIENT PAUSE 1500 {paused:?}, within DEBUG SLEEP 1.5 {slept:?}"
    );
    let failures = bench.failures();
    assert!(
        words(&failures).iter().all(|word| *word == "timeout"),
        "{failures:?}"
    );
    assert!(
        failures
            .iter()
            .any(|(name, ..)| name == "EVALSHA wine_features"),
        "{failures:?}"
    );
}

#[test]
#[ignore = "starts servers of its own with .ci/components"]
fn a_wrong_password_is_told_to_nobody_and_a_right_one_needs_no_restart() {
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
    // The password is changed under an open connection, as a rotation does; Redis asks only new ones for it.
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
    let log = std::sync::Arc::clone(&bench.store.log);
    let failures = bench.failures();
    let expected = (
        "PIPELINE HMGET wine_features".to_owned(),
        "WRONGPASS".to_owned(),
        json!("WRONGPASS"),
    );
    assert_eq!(failures, [expected]);
    let log = log.lock().unwrap();
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
    let expected = (
        "PIPELINE HMGET wine_features".to_owned(),
        "NOAUTH".to_owned(),
        json!("NOAUTH"),
    );
    assert_eq!(bench.failures(), [expected]);
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
    let failures = bench.failures();
    let write = |code: &str| {
        (
            "EVALSHA wine_features".to_owned(),
            code.to_owned(),
            json!(code),
        )
    };
    let known: Vec<_> = failures
        .iter()
        .filter(|(name, ..)| name.starts_with("EVALSHA"))
        .cloned()
        .collect();
    assert_eq!(known, [write("OOM"), write("READONLY")]);
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
    eventually("rows are stored", || stored(&server) > 2_000);
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
