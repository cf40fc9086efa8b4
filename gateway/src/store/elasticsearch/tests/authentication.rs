//! Credentials: sent to the cluster, and shown nowhere.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use runtime::Secret;

use super::super::settings::ClusterSettings;
use super::super::{Addresses, ElasticsearchOptions, SetupError};
use super::stub::Stub;
use crate::PredictionStore;
use crate::store::tests::conformance;
use crate::store::{Lookup, StoreError};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    options: ElasticsearchOptions,
}

fn secret(text: &str) -> Secret {
    Secret::from_str(text).unwrap()
}

fn lookup() -> Lookup {
    conformance::lookup("m", "1", &["a"])
}

#[tokio::test]
async fn each_kind_of_credentials_goes_into_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let none = ElasticsearchOptions::default();
    let user = ElasticsearchOptions {
        elasticsearch_username: Some("elastic".to_owned()),
        ..none.clone()
    };
    let cases = [
        (none.clone(), ""),
        (
            ElasticsearchOptions {
                elasticsearch_password: Some(secret("s3cret")),
                ..user.clone()
            },
            "Basic ZWxhc3RpYzpzM2NyZXQ=",
        ),
        (
            ElasticsearchOptions {
                elasticsearch_password_file: file("password", "s3cret\n"),
                ..user
            },
            "Basic ZWxhc3RpYzpzM2NyZXQ=",
        ),
        (
            ElasticsearchOptions {
                elasticsearch_api_key: Some(secret("aWQ6a2V5")),
                ..none.clone()
            },
            "ApiKey aWQ6a2V5",
        ),
        (
            ElasticsearchOptions {
                elasticsearch_api_key: Some(secret("id:key")),
                ..none.clone()
            },
            "ApiKey aWQ6a2V5",
        ),
        (
            ElasticsearchOptions {
                elasticsearch_api_key_file: file("key", "id:key"),
                ..none.clone()
            },
            "ApiKey aWQ6a2V5",
        ),
        (
            ElasticsearchOptions {
                elasticsearch_bearer_token: Some(secret("t0ken")),
                ..none.clone()
            },
            "Bearer t0ken",
        ),
        (
            ElasticsearchOptions {
                elasticsearch_bearer_token_file: file("token", "t0ken"),
                ..none
            },
            "Bearer t0ken",
        ),
    ];
    for (options, expected) in cases {
        let stub = Stub::start().await;
        let store = stub.store(&options);
        store.get_many(lookup()).await.unwrap();
        let sent = stub.seen()[0]
            .headers
            .get("authorization")
            .map_or("", |value| value.to_str().unwrap())
            .to_owned();
        assert_eq!(sent, expected);
        let shown = format!("{options:?} {store:?}");
        for word in ["s3cret", "t0ken", "aWQ6a2V5", "id:key"] {
            assert!(!shown.contains(word), "{word} in {shown}");
        }
    }
}

#[tokio::test]
async fn a_user_in_the_address_is_used_and_not_shown() {
    let stub = Stub::start().await;
    let addresses: Addresses = format!("http://elastic:s3%63ret@{}", stub.address)
        .parse()
        .unwrap();
    let store = super::super::ElasticsearchStore::new(
        Some(&addresses),
        &ElasticsearchOptions::default(),
        Duration::from_secs(5),
    )
    .unwrap();
    store.get_many(lookup()).await.unwrap();
    assert_eq!(
        stub.seen()[0].headers["authorization"],
        "Basic ZWxhc3RpYzpzM2NyZXQ="
    );
    let shown = format!("{addresses} {addresses:?} {store:?}");
    assert!(
        !shown.contains("elastic:") && !shown.contains("s3"),
        "{shown}"
    );
}

#[tokio::test]
async fn wrong_credentials_are_an_error_and_not_retried() {
    let stub = Stub::start().await;
    let refusal = r#"{"error":{"type":"security_exception","reason":"unable to authenticate user [x]"},"status":401}"#;
    let store = stub.store(&ElasticsearchOptions {
        elasticsearch_api_key: Some(secret("wrong")),
        ..ElasticsearchOptions::default()
    });
    for _ in 0..2 {
        stub.answer(401, refusal);
        let error = store.get_many(lookup()).await.unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Engine {
                    error_type: "security_exception",
                    ..
                }
            ),
            "{error:?}"
        );
    }
    assert_eq!(stub.seen().len(), 2);
    // An administrator corrects them in the cluster; no restart is needed.
    assert_eq!(store.get_many(lookup()).await.unwrap(), [None]);
}

#[test]
fn wrong_options_are_refused() {
    let none = ElasticsearchOptions::default();
    let address: Addresses = "http://127.0.0.1:1".parse().unwrap();
    let read = |options: &ElasticsearchOptions| {
        ClusterSettings::read(Some(&address), options, Duration::from_secs(1))
            .map(drop)
            .unwrap_err()
    };
    let missing = PathBuf::from("/nowhere/secret");
    let name = Some("elastic".to_owned());
    assert!(matches!(
        ClusterSettings::read(None, &none, Duration::from_secs(1)),
        Err(SetupError::NoAddress)
    ));
    assert!(matches!(
        read(&ElasticsearchOptions {
            elasticsearch_ca_cert: Some(missing.clone()),
            ..none.clone()
        }),
        SetupError::File { .. }
    ));
    assert!(matches!(
        read(&ElasticsearchOptions {
            elasticsearch_api_key_file: Some(missing),
            ..none.clone()
        }),
        SetupError::File { .. }
    ));
    assert!(matches!(
        read(&ElasticsearchOptions {
            elasticsearch_username: name,
            ..none.clone()
        }),
        SetupError::HalfUser
    ));
    assert!(matches!(
        read(&ElasticsearchOptions {
            elasticsearch_password: Some(secret("p")),
            ..none.clone()
        }),
        SetupError::HalfUser
    ));
    let both = ElasticsearchOptions {
        elasticsearch_api_key: Some(secret("k")),
        elasticsearch_bearer_token: Some(secret("t")),
        ..none.clone()
    };
    assert!(matches!(read(&both), SetupError::TwoCredentials));
    let broken = ElasticsearchOptions {
        elasticsearch_bearer_token: Some(secret("line\nbreak")),
        ..none.clone()
    };
    assert!(matches!(read(&broken), SetupError::NoText));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, "no certificate").unwrap();
    let options = ElasticsearchOptions {
        elasticsearch_ca_cert: Some(path),
        ..none
    };
    let error =
        super::super::ElasticsearchStore::new(Some(&address), &options, Duration::from_secs(1))
            .unwrap_err();
    assert!(matches!(error, SetupError::Authority(_)), "{error:?}");
}

#[test]
fn help_names_the_variables_and_hides_the_secrets() {
    let help = Arguments::command().render_long_help().to_string();
    for variable in [
        "ELASTICSEARCH_URL",
        "ELASTICSEARCH_PASSWORD",
        "ELASTICSEARCH_API_KEY",
        "ELASTICSEARCH_BEARER_TOKEN",
    ] {
        assert!(
            help.contains(&format!("[env: {variable}]")),
            "{variable} in {help}"
        );
    }
    let wrong = ["Predictions", "-x", "a/b", "a b", "1", "", &"a".repeat(200)];
    for alias in wrong {
        assert!(
            Arguments::try_parse_from(["x", &format!("--elasticsearch-index={alias}")]).is_err(),
            "{alias}"
        );
    }
    let parsed = Arguments::try_parse_from([
        "x",
        "--elasticsearch-index=team-a.predictions_1",
        "--elasticsearch-timeout=200ms",
    ]);
    assert_eq!(
        parsed.unwrap().options.elasticsearch_timeout,
        Some(Duration::from_millis(200))
    );
    for wrong in ["", "ftp://x", "http://a,http://u:hunter2@b c"] {
        let addresses: Addresses = wrong.parse().unwrap();
        let error = ClusterSettings::read(
            Some(&addresses),
            &ElasticsearchOptions::default(),
            Duration::from_secs(1),
        )
        .err();
        assert!(
            matches!(error, Some(SetupError::NoAddress)),
            "{wrong}: {error:?}"
        );
    }
    let several: Addresses = "http://a:9200, https://b/es".parse().unwrap();
    assert_eq!(several.to_string(), "http://a:9200/,https://b/es/");
}
