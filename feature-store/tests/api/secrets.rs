//! Addresses with secrets, right and wrong: no output of the program shows the secret.

use harness::Collector;

use crate::process::{FeatureStore, program};

const QUIET: [(&str, &str); 3] = [
    ("OTEL_TRACES_EXPORTER", "none"),
    ("OTEL_METRICS_EXPORTER", "none"),
    ("OTEL_LOGS_EXPORTER", "none"),
];

/// Forms that cannot be used; the program ends.
const WRONG: [&str; 12] = [
    "redis://u:hunter2@h:port",
    "redis://u:hunter2@h/db",
    "redis://u:hunt%zz/hunter2@h",
    "redis://u:1?hunter2@h",
    "redis://u:hunter2#@h",
    "redis:u:hunter2@h",
    "redis:/u:hunter2@h",
    "u:hunter2@h:6379",
    "redis://h?protocol=hunter2",
    "rediss://u:hunter2@a,b",
    "mysql://u:hunter2@h",
    "u:hunter2@redis://h",
];

#[test]
fn a_wrong_address_is_refused_without_its_secret() {
    let folder = tempfile::tempdir().unwrap();
    for address in WRONG {
        for arguments in [
            vec!["--listen", "127.0.0.1:0", "--database", address],
            vec![
                "materialize",
                "--view",
                "wine_features",
                "--file",
                "/dev/null",
                "--database",
                address,
            ],
            vec![
                "delete",
                "--view",
                "wine_features",
                "x",
                "--database",
                address,
            ],
            // The flag is forgotten or misspelt: the parser repeats what it does not expect.
            vec!["--listen", "127.0.0.1:0", address],
            vec!["--listen", "127.0.0.1:0", "--databse", address],
            vec!["--listen", address],
            vec!["--cache-capacity", address],
            vec!["materialize", address],
        ] {
            let output = program(folder.path().join("f.db"))
                .current_dir(folder.path())
                .args(&arguments)
                .envs(QUIET)
                .output()
                .unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(!output.status.success(), "{arguments:?}: {said}");
            assert!(!said.is_empty() && !said.contains("hunter2"), "{said}");
        }
    }
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(files.is_empty(), "a password became a file name: {files:?}");
}

#[test]
fn a_password_that_looks_like_a_flag_is_not_shown() {
    for value in ["--hunter2", "-hunter2"] {
        for flag in ["--redis-password", "--database"] {
            let output = program("redis://127.0.0.1:1")
                .args([flag, value, "--version-of-nothing"])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("--version-of-nothing"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[test]
fn an_address_that_nobody_answers_is_shown_without_its_secret() {
    for address in [
        "redis://user:hunter2@127.0.0.1:1/0",
        "redis://:hunter2@127.0.0.1:1",
        "redis://user:%68unter2hunter2@127.0.0.1:1",
        "redis://hunter2@127.0.0.1:1/?protocol=resp3&password=hunter2",
        "rediss://user:hunter2@127.0.0.1:1",
        "redis+cluster://user:hunter2@127.0.0.1:1,127.0.0.1:2",
        "unix:///nowhere/redis.sock?user=hunter2&pass=hunter2",
    ] {
        let collector = Collector::start();
        let store = FeatureStore::start(address, &collector);
        let body =
            serde_json::json!({"features": ["wine_features:ph"], "entities": {"wine_id": ["x"]}});
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let answer = store.post("/get-online-features", trace, &body);
        assert!(matches!(answer.status, 500 | 503), "{}", answer.text());
        let ready = store.get("/readyz");
        assert_eq!(ready.status, 200);
        assert!(ready.text().contains("feature_backend"), "{}", ready.text());
        let log = store.stop().output();
        assert!(log.contains("feature_store.backend_unreachable"), "{log}");
        let spans = collector.get(&format!("/api/traces/{trace}")).unwrap();
        assert!(spans.text().contains("HMGET"), "{}", spans.text());
        for text in [answer.text(), ready.text(), spans.text(), log] {
            assert!(!text.contains("hunter2"), "{address}: {text}");
        }
        let failed = program(address)
            .args([
                "materialize",
                "--view",
                "wine_features",
                "--file",
                "/dev/null",
            ])
            .output()
            .unwrap();
        let said = [failed.stdout, failed.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(
            said.contains("cannot begin") && !said.contains("hunter2"),
            "{said}"
        );
    }
}
