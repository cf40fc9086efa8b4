//! Addresses and options, valid and invalid; no text of them shows a secret.

use super::*;

fn address(text: &str) -> RedisAddress {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn addresses_are_read_and_shown_without_secrets() {
    for (text, shown) in [
        ("redis://cache.example", "cache.example:6379"),
        ("redis://:hunter2@127.0.0.1:7000/2", "127.0.0.1:7000"),
        (
            "valkeys://app:hunter2@cache.example:6380",
            "cache.example:6380",
        ),
        ("unix:///run/redis.sock", "/run/redis.sock"),
        (
            "redis+cluster://app:hunter2@a:1,b:2, c",
            "cluster of a:1,b:2,c:6379",
        ),
        ("rediss-cluster://a/?protocol=resp3", "cluster of a:6379"),
        (
            "redis+cluster://[::1]:7000,[::1]:7001",
            "cluster of ::1:7000,::1:7001",
        ),
    ] {
        let address = address(text);
        assert_eq!(address.to_string(), shown);
        assert!(!format!("{address:?}").contains("hunter2"));
    }
    assert_eq!(
        address("redis://a:5/7").server(),
        Some(("a".to_owned(), Some(5)))
    );
    assert_eq!(
        address("redis+cluster://a:5").server(),
        Some(("a".to_owned(), Some(5)))
    );
    assert_eq!(
        address("redis+cluster://a:5,b:6").server(),
        None,
        "which of them answers is not known"
    );
    assert_eq!(address("redis://a:5/7").namespace(), "7");
    assert_eq!(address("redis+cluster://a,b").namespace(), "0");
}

#[test]
fn wrong_addresses_are_refused_without_showing_the_password() {
    for text in [
        "mysql://u:hunter2@a",
        "redis://u:hunter2@a,b",
        "redis://u:hunter2@a:port",
        "redis://u:hunter2@a/db",
        "redis+cluster://u:hunter2@a,:5",
        "redis+cluster://",
        "redis://u:hunter2@0.0.0.0",
        "unix+cluster:///x",
        "redis://a?protocol=9",
    ] {
        let error = text.parse::<RedisAddress>().expect_err(text);
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn options_that_do_not_fit_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a certificate\n").unwrap();
    let plain = address("redis://a");
    let secret = Some(Secret::new("hunter2"));
    let refused = |address: &RedisAddress, options: RedisOptions| {
        topology(address, &options).err().expect("it is refused")
    };
    let twice = RedisOptions {
        redis_password: secret,
        redis_password_file: Some(file.clone()),
        ..RedisOptions::default()
    };
    assert!(!format!("{twice:?}").contains("hunter2"));
    assert!(matches!(
        refused(&plain, twice),
        SettingsError::TwoPasswords
    ));
    let half = RedisOptions {
        redis_client_cert: Some(file.clone()),
        ..RedisOptions::default()
    };
    assert!(matches!(
        refused(&plain, half),
        SettingsError::HalfCertificate
    ));
    let no_tls = RedisOptions {
        redis_ca_cert: Some(file.clone()),
        ..RedisOptions::default()
    };
    assert!(matches!(refused(&plain, no_tls), SettingsError::NoTls));
    let missing = RedisOptions {
        redis_ca_cert: Some(folder.path().join("none")),
        ..RedisOptions::default()
    };
    assert!(matches!(
        refused(&address("rediss://a"), missing),
        SettingsError::Unreadable { .. }
    ));
    let half = RedisOptions {
        redis_client_cert: Some(file.clone()),
        redis_client_key: Some(file),
        ..RedisOptions::default()
    };
    assert!(matches!(
        refused(&address("rediss+cluster://a"), half),
        SettingsError::Client(_)
    ));
}

#[test]
fn a_password_of_a_file_has_no_newline() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, " with spaces \r\n").unwrap();
    let options = RedisOptions {
        redis_password_file: Some(file),
        ..RedisOptions::default()
    };
    assert_eq!(
        password(&options).unwrap(),
        Some(Secret::new(" with spaces "))
    );
}
