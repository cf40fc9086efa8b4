//! The options of the gateway, and the messages about those that cannot be used.

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use runtime::Shutdown;
use tokio::net::TcpListener;

use crate::{Config, Error, StoreAddress, run};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

fn parse(arguments: &[&str]) -> Result<Config, String> {
    let parsed = Arguments::try_parse_from(["gateway"].iter().chain(arguments));
    parsed
        .map(|arguments| arguments.config)
        .map_err(|error| error.to_string())
}

#[test]
fn flags_are_parsed_and_wrong_ones_explained() {
    let config = parse(&[
        "--prediction-ttl",
        "2h",
        "--model-service",
        "http://models:8000/base",
    ])
    .unwrap();
    assert_eq!(config.prediction_ttl, Some(Duration::from_hours(2)));
    let [service] = config.model_service.as_slice() else {
        panic!("{:?}", config.model_service)
    };
    assert_eq!(
        (service.name.as_str(), service.url.as_str()),
        ("primary", "http://models:8000/base/")
    );
    assert_eq!(
        config.prediction_store,
        StoreAddress::Sqlite(Path::new(".throughline/predictions.db").to_owned())
    );
    let plain = parse(&["--prediction-store", "/tmp/x.db"])
        .unwrap()
        .prediction_store;
    assert_eq!(
        plain,
        StoreAddress::Sqlite(Path::new("/tmp/x.db").to_owned())
    );
    for (address, text) in [
        ("redis://u:hunter2@x", "`redis` is not a prediction store"),
        ("sqlite:", "path of the file is missing"),
    ] {
        let store = parse(&["--prediction-store", address])
            .unwrap()
            .prediction_store;
        let StoreAddress::Wrong(reason) = store else {
            panic!("{address} is used")
        };
        assert!(
            reason.contains(text) && !reason.contains("hunter2"),
            "{reason}"
        );
    }
    let wrong = [
        (
            ["--model-service", "ftp://x"],
            "not an http or https address",
        ),
        (
            ["--model-service", "models:8000"],
            "not an http or https address",
        ),
        (
            ["--model-service", "a b=http://x"],
            "`a b` is not the name of a variant",
        ),
        (
            ["--model-service", "=http://x"],
            "`` is not the name of a variant",
        ),
        (["--model-service", "http://x,,"], "this is not an address"),
        (["--routes-refresh", "0s"], "must be more than 0"),
        (["--prediction-ttl", "0s"], "must be more than 0"),
        (["--prediction-ttl", "5"], "needs a unit"),
        (["--prediction-ttl", "99999999999999999999d"], "is no time"),
    ];
    for (arguments, text) in wrong {
        let error = parse(&arguments).unwrap_err();
        assert!(error.contains(text), "{arguments:?}: {error}");
    }
}

#[test]
fn a_service_has_a_name_and_there_may_be_several() {
    let named = |arguments: &[&str]| {
        let services = parse(arguments).unwrap().model_service;
        services
            .iter()
            .map(|service| format!("{}={}", service.name, service.url))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(named(&[]), "primary=http://127.0.0.1:8000/");
    let both = "primary=http://a/ canary=http://b/x/";
    assert_eq!(
        named(&["--model-service", "http://a,canary=http://b/x"]),
        both
    );
    assert_eq!(
        named(&[
            "--model-service",
            "http://a",
            "--model-service",
            "canary=http://b/x"
        ]),
        both
    );
    assert_eq!(
        named(&["--model-service", "http://a/?x=y"]),
        "primary=http://a/?x=y"
    );
}

#[tokio::test]
async fn services_of_one_name_and_bad_routes_are_refused_before_anything_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let (store, routes) = (
        folder.path().join("p.db"),
        folder.path().join("routes.toml"),
    );
    std::fs::write(
        &routes,
        "[models.wine]\n[[models.wine.variants]]\nname = \"x\"\nweight = 1\n",
    )
    .unwrap();
    let secret = folder.path().join("secret.toml");
    std::fs::write(
        &secret,
        "[models.wine]\n[[models.wine.variants]]\nname = \"x\"\nweight = 1\nurl = \"ftp://u:hunter2@h\"\n",
    )
    .unwrap();
    let cases = [
        (
            ["--model-service", "http://a,http://b"],
            "more than one address of `primary`",
        ),
        (
            ["--routes", routes.to_str().unwrap()],
            "model `wine`: variant `x`: `url` is missing",
        ),
        (
            ["--routes", secret.to_str().unwrap()],
            "variant `x`: this is not an http or https address",
        ),
        (
            ["--routes", "/nowhere/routes.toml"],
            "cannot start with these routes: there are no routes: cannot read /nowhere/routes.toml",
        ),
    ];
    for (arguments, expected) in cases {
        let config = parse(
            &[
                &["--prediction-store", store.to_str().unwrap()],
                &arguments[..],
            ]
            .concat(),
        )
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_stop, shutdown) = Shutdown::pair();
        let error = run(config, listener, shutdown).await.unwrap_err();
        let message = runtime::chain(&error);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn no_message_about_an_address_shows_its_password() {
    for address in [
        "ftp://u:hunter2@x",
        "http://u:hunter2@[x",
        "http://u:hunter2@x:port",
        "u:hunter2@x=http://y",
        "http://u:hunter2@",
    ] {
        let error = crate::parse::http_url(address).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        let error = address.parse::<crate::ServiceAddress>().unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn waiting_requests_must_leave_room_for_stored_predictions() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("p.db");
    for (waiting, in_flight, accepted) in [
        ("8", "8", false),
        ("9", "8", false),
        ("1", "1", false),
        ("7", "8", true),
    ] {
        let config = parse(&[
            "--prediction-store",
            store.to_str().unwrap(),
            "--max-waiting",
            waiting,
            "--max-in-flight",
            in_flight,
        ])
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stop, shutdown) = Shutdown::pair();
        drop(stop);
        let ran = run(config, listener, shutdown).await;
        assert_eq!(ran.is_ok(), accepted, "{waiting} {in_flight}: {ran:?}");
        if let Err(error) = ran {
            let expected = format!(
                "--max-waiting ({waiting}) must be less than --max-in-flight ({in_flight})"
            );
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }
    assert_eq!(
        parse(&["--max-in-flight", "1"])
            .unwrap()
            .waiting_limit()
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn an_unusable_store_is_refused_before_anything_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no.db");
    std::fs::write(&file, "no database".repeat(1_000)).unwrap();
    for (store, expected) in [
        (file.to_str().unwrap(), "--prediction-store"),
        ("elasticsearch", "cannot keep predictions in Elasticsearch"),
    ] {
        let config = parse(&["--prediction-store", store]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_stop, shutdown) = Shutdown::pair();
        let error: Error = run(config, listener, shutdown).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
