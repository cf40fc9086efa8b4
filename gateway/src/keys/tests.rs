//! The file of the keys and its errors, and the gateway's answers with and without a key.

use std::path::Path;
use std::sync::Arc;

use super::file::read;
use super::{ApiKeys, KeyOptions};
use crate::tests::harness::{Gateway, Reply, Setup};

/// Keys as they are made, and their hashes by `sha256sum`.
const ALICE: &str = "tl_alice";
const BOB: &str = "tl_bob";
const ALICE_HASH: &str = "732f5605e0c454a8eb528a273eac063b64966dccaa68983a31abb9d6bbd1d94c";
const BOB_HASH: &str = "bd1be308e8080925ea362b81c962f2c056209c08ef682f1aa85b27705fc2cf5e";

fn file(keys: &str) -> String {
    keys.replace("ALICE", ALICE_HASH).replace("BOB", BOB_HASH)
}

/// A gateway with these keys; the folder of their file must stay.
async fn gateway(keys: &str) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    std::fs::write(&path, file(keys)).unwrap();
    let keys = KeyOptions {
        api_keys: Some(path),
        insecure_listen: false,
    };
    let gateway = Gateway::with(Setup {
        keys,
        ..Setup::default()
    });
    (gateway.await, folder)
}

async fn get(gateway: &Gateway, path: &str, key: &str) -> Reply {
    let bearer = format!("Bearer {key}");
    gateway.get_with(path, &[("authorization", &bearer)]).await
}

const BOTH: &str = r#"
[[keys]]
name = "alice"
sha256 = "ALICE"

[[keys]]
name = "bob"
sha256 = "BOB"
requests_per_second = 0.001
burst = 2
"#;

#[tokio::test]
async fn every_path_but_the_probes_needs_a_key() {
    let (gateway, _folder) = gateway(BOTH).await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(gateway.get(path).await.status, 200, "{path}");
    }
    for path in [
        "/v1/models",
        "/openapi.json",
        "/no/such/path",
        "/v1/predictions/wine_quality/a",
    ] {
        let reply = gateway.get(path).await;
        assert_eq!(reply.problem(401), "unauthenticated", "{path}");
        assert_eq!(
            reply.header("www-authenticate"),
            r#"Bearer realm="throughline""#
        );
        let reply = get(&gateway, path, "tl_mallory").await;
        assert_eq!(reply.problem(401), "unauthenticated", "{path}");
        assert_eq!(
            reply.header("www-authenticate"),
            r#"Bearer realm="throughline", error="invalid_token""#
        );
        assert!(!String::from_utf8_lossy(&reply.body).contains("mallory"));
    }
    // `/v2` answers in the form of its protocol.
    let reply = gateway.get("/v2/health/ready").await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["code"].as_str()),
        (401, Some("unauthenticated"))
    );
    assert!(!reply.header("www-authenticate").is_empty());
    assert_eq!(get(&gateway, "/v2/health/ready", ALICE).await.status, 200);
    assert_eq!(get(&gateway, "/v1/models", ALICE).await.status, 200);
    assert!(gateway.fake.calls().is_empty());
}

#[tokio::test]
async fn the_scheme_is_read_as_http_says() {
    let (gateway, _folder) = gateway(BOTH).await;
    let long = "x".repeat(300);
    for (header, status) in [
        (format!("bearer  {ALICE} "), 200),
        (format!("BEARER {ALICE}"), 200),
        (format!("Bearer{ALICE}"), 401),
        (format!("Basic {ALICE}"), 401),
        (format!("Bearer {ALICE}x"), 401),
        (format!("Bearer {ALICE_HASH}"), 401),
        (format!("Bearer {long}"), 401),
        ("Bearer".to_owned(), 401),
        ("Bearer ".to_owned(), 401),
        (String::new(), 401),
    ] {
        let reply = gateway
            .get_with("/v1/models", &[("authorization", &header)])
            .await;
        assert_eq!(reply.status.as_u16(), status, "{header}");
    }
    let (alice, bob) = (format!("Bearer {ALICE}"), format!("Bearer {BOB}"));
    let twice = [("authorization", &*alice), ("authorization", &*bob)];
    assert_eq!(gateway.get_with("/v1/models", &twice).await.status, 401);
}

#[tokio::test]
async fn a_body_without_a_key_is_not_read() {
    let (gateway, _folder) = gateway(BOTH).await;
    // Larger than the limit: it would be a 413 if its size had been looked at.
    let reply = gateway
        .post("/v1/predictions", &[], vec![b' '; 2 << 20])
        .await;
    assert_eq!(reply.problem(401), "unauthenticated");
}

#[tokio::test]
async fn a_key_over_its_rate_waits_and_leaves_the_others_alone() {
    let (gateway, _folder) = gateway(BOTH).await;
    for _ in 0..2 {
        assert_eq!(get(&gateway, "/v1/models", BOB).await.status, 200);
    }
    let reply = get(&gateway, "/v1/models", BOB).await;
    assert_eq!(reply.problem(429), "rate_limited");
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=1_000).contains(&wait), "{wait}");
    let reply = get(&gateway, "/v2/health/ready", BOB).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["code"].as_str()),
        (429, Some("rate_limited"))
    );
    assert_eq!(get(&gateway, "/v1/models", ALICE).await.status, 200);
}

#[tokio::test]
async fn a_key_has_no_more_requests_in_flight_than_it_may() {
    let (gateway, _folder) = gateway(&BOTH.replace(
        "sha256 = \"ALICE\"",
        "sha256 = \"ALICE\"\nmax_in_flight = 1",
    ))
    .await;
    let gateway = Arc::new(gateway);
    gateway.fake.close_gate();
    let first = {
        let gateway = Arc::clone(&gateway);
        telemetry::task::spawn(async move {
            get(&gateway, "/v1/predictions/wine_quality/a", ALICE).await
        })
    };
    gateway.until_called(1).await;
    let reply = get(&gateway, "/v1/models", ALICE).await;
    assert_eq!(reply.problem(429), "rate_limited");
    assert_eq!(reply.header("retry-after"), "1");
    assert_eq!(get(&gateway, "/v1/models", BOB).await.status, 200);
    first.abort();
    gateway
        .eventually("the place is free", async || {
            get(&gateway, "/v1/models", ALICE).await.status == 200
        })
        .await;
}

#[tokio::test]
async fn a_changed_file_counts_and_a_broken_one_does_not() {
    let (gateway, folder) = gateway(BOTH).await;
    let path = folder.path().join("keys.toml");
    for _ in 0..2 {
        assert_eq!(get(&gateway, "/v1/models", BOB).await.status, 200);
    }
    std::fs::write(&path, "[[keys]]\nname = 'alice'\nkey = 'tl_secret'\n").unwrap();
    gateway
        .eventually("the broken file is named", async || {
            let detail = gateway.get("/readyz").await.json()["detail"]["api_keys"].to_string();
            assert!(!detail.contains("tl_secret"), "{detail}");
            detail.contains("keys.toml") && detail.contains("line 3") && detail.contains("previous")
        })
        .await;
    assert_eq!(gateway.get("/readyz").await.status, 200);
    assert_eq!(get(&gateway, "/v1/models", ALICE).await.status, 200);
    // Alice is gone, and a new file gives Bob no new burst.
    let only_bob = BOTH
        .replace("alice", "carol")
        .replace("ALICE", &"0".repeat(64));
    std::fs::write(&path, file(&only_bob)).unwrap();
    gateway
        .eventually("the key is revoked", async || {
            get(&gateway, "/v1/models", ALICE).await.status == 401
        })
        .await;
    assert_eq!(get(&gateway, "/v1/models", BOB).await.status, 429);
    let detail = &gateway.get("/readyz").await.json()["detail"];
    assert_eq!(detail.get("api_keys"), None);
}

#[test]
fn errors_of_the_file_name_the_line_or_the_key_and_no_secret() {
    let two =
        |second: &str| format!("[[keys]]\nname = \"a\"\nsha256 = \"ALICE\"\n[[keys]]\n{second}");
    for (text, expected) in [
        ("", "it has no [[keys]]"),
        ("keys = 1", "line 1"),
        ("\n\n[[keys]]\nname = \"tl_secret", "line 4"),
        (
            "[[keys]]\nname = \"a\"\nsha256 = \"tl_secret\"",
            "the sha256 of `a` is not 64 hex digits",
        ),
        ("[[keys]]\nname = \"a b\"\nsha256 = \"ALICE\"", "a name has"),
        ("[[keys]]\nname = \"a\"", "missing field `sha256`"),
        (
            &two("name = \"a\"\nsha256 = \"BOB\""),
            "the name `a` is there twice",
        ),
        (
            &two("name = \"b\"\nsha256 = \"ALICE\""),
            "`b` has the sha256 of another key",
        ),
        (
            &two("name = \"b\"\nsha256 = \"BOB\"\nburst = 1"),
            "`b`: burst needs",
        ),
        (
            &two("name = \"b\"\nsha256 = \"BOB\"\nrequests_per_second = 0"),
            "`b`: requests_per_second",
        ),
        (
            &two("name = \"b\"\nsha256 = \"BOB\"\nrequests_per_second = nan"),
            "`b`: requests_per_second",
        ),
        (
            &two("name = \"b\"\nsha256 = \"BOB\"\nrequests_per_second = 1\nburst = 0"),
            "`b`: burst is",
        ),
        (
            &two("name = \"b\"\nsha256 = \"BOB\"\nmax_in_flight = 0"),
            "`b`: max_in_flight is",
        ),
    ] {
        let error = read(Path::new("/etc/keys.toml"), file(text).as_bytes()).unwrap_err();
        let error = runtime::chain(&error);
        assert!(
            error.contains("/etc/keys.toml") && error.contains(expected),
            "{text}: {error}"
        );
        assert!(!error.contains("tl_secret"), "{error}");
    }
}

#[test]
fn a_key_is_found_by_its_hash_alone() {
    let keys = ApiKeys::new(read(Path::new("keys.toml"), file(BOTH).as_bytes()).unwrap());
    let found = |key: &str| keys.find(key.as_bytes()).map(|key| key.entry.name.clone());
    assert_eq!(found(ALICE).as_deref(), Some("alice"));
    assert_eq!(found(BOB).as_deref(), Some("bob"));
    assert_eq!((found(""), found(ALICE_HASH)), (None, None));
}

#[test]
fn an_open_address_needs_keys_or_the_wish() {
    let check = |address: &str, keys: bool, insecure_listen: bool| {
        let api_keys = keys.then(|| "keys.toml".into());
        let options = KeyOptions {
            api_keys,
            insecure_listen,
        };
        let tls = runtime::TlsOptions::default();
        options.check(address.parse().unwrap(), &tls).is_ok()
    };
    for address in [
        "127.0.0.1:80",
        "127.9.9.9:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
    ] {
        assert!(check(address, false, false), "{address}");
    }
    for address in [
        "0.0.0.0:80",
        "[::]:80",
        "10.0.0.1:80",
        "[::ffff:10.0.0.1]:80",
    ] {
        assert!(!check(address, false, false), "{address}");
        assert!(
            check(address, true, false) && check(address, false, true),
            "{address}"
        );
    }
    let with_certificates = runtime::TlsOptions {
        tls_client_ca: Some("ca.pem".into()),
        ..Default::default()
    };
    let open = "0.0.0.0:80".parse().unwrap();
    assert!(
        KeyOptions::default()
            .check(open, &with_certificates)
            .is_ok()
    );
}
