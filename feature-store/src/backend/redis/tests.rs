//! The conformance suite on a real server, on a cluster and through TLS, and what only Redis can
//! do.

#[path = "../../../tests/api/redis_server.rs"]
mod server;
mod servers;

use std::time::Duration;

use super::*;
use crate::backend::conformance;
use crate::backend::conformance::{at, key, number};
use crate::value::FeatureValue;
use crate::views::Views;
use server::RedisServer;
use servers::{Cluster, TlsServer};

fn options() -> RedisOptions {
    // Nothing that a test writes is seen by another one, nor by a second run on the same server.
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let redis_key_prefix = format!("test-{}-{now}:", std::process::id());
    RedisOptions {
        redis_key_prefix,
        redis_timeout: Duration::from_secs(5),
        ..RedisOptions::default()
    }
}

fn backend(url: &str, options: &RedisOptions) -> RedisBackend {
    RedisBackend::new(&url.parse().unwrap(), options, &Health::new()).unwrap()
}

fn shared() -> String {
    std::env::var("THROUGHLINE_TEST_REDIS_URL").expect("THROUGHLINE_TEST_REDIS_URL names a server")
}

#[tokio::test]
#[ignore = "needs a server: set THROUGHLINE_TEST_REDIS_URL"]
async fn conforms() {
    conformance::check(&backend(&shared(), &options())).await;
    conformance::check(&backend(
        &format!("{}/?protocol=resp3", shared()),
        &options(),
    ))
    .await;
    conformance::check(&backend(
        &format!("{}/3", shared().replace("redis://", "valkey://")),
        &options(),
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts servers of its own with .ci/components"]
async fn a_cluster_conforms() {
    let cluster = Cluster::start();
    conformance::check(&backend(&cluster.url(), &options())).await;
    let used = cluster
        .nodes
        .iter()
        .filter(|node| node.cli(&["dbsize"]).trim() != "0")
        .count();
    assert_eq!(used, 3, "every node has some of the entities");
    let one = format!("redis+cluster://127.0.0.1:{}", cluster.nodes[2].port);
    conformance::check(&backend(&one, &options())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts servers of its own with .ci/components"]
async fn slots_move_while_they_are_read_and_written() {
    let cluster = Cluster::start();
    let (backend, views) = (backend(&cluster.url(), &options()), conformance::views());
    let view = views.view("Order").unwrap();
    let keys: Vec<EntityKey> = (0..300).map(|at| key(&format!("moving-{at}"))).collect();
    let moving = telemetry::task::spawn_blocking(move || {
        cluster.move_slots(2_000);
        cluster
    });
    let mut round = 0;
    while round < 5 || !moving.is_finished() {
        round += 1;
        let rows = keys
            .iter()
            .map(|key| (key.clone(), number(round, round)))
            .collect();
        assert_eq!(
            backend.write(view, rows).await.unwrap(),
            Written {
                written: 300,
                outdated: 0
            }
        );
        let read = backend.read(view, &keys).await.unwrap();
        assert!(
            read.iter().all(|row| *row == Some(number(round, round))),
            "round {round}"
        );
    }
    moving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts servers of its own with .ci/components"]
async fn a_node_that_dies_takes_its_slots_along_and_brings_them_back() {
    let cluster = Cluster::start();
    let mut options = options();
    options.redis_timeout = Duration::from_secs(1);
    let (backend, views) = (backend(&cluster.url(), &options), conformance::views());
    let view = views.view("Order").unwrap();
    let keys: Vec<EntityKey> = (0..100).map(|at| key(&format!("shared-{at}"))).collect();
    let write = async || {
        backend
            .write(
                view,
                keys.iter().map(|key| (key.clone(), number(1, 1))).collect(),
            )
            .await
    };
    write().await.unwrap();
    cluster.nodes[1].kill();
    let begun = std::time::Instant::now();
    let error = backend.read(view, &keys).await.unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert!(error.transient, "{error:?}");
    cluster.nodes[1].start_again();
    cluster.wait_until_whole();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while let Err(error) = write().await {
        assert!(
            error.transient && tokio::time::Instant::now() < deadline,
            "{error:?}"
        );
    }
    assert!(
        backend
            .read(view, &keys)
            .await
            .unwrap()
            .iter()
            .all(Option::is_some)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts servers of its own with .ci/components"]
async fn a_node_that_is_down_leaves_the_entities_of_the_others_readable() {
    let cluster = Cluster::start();
    for node in &cluster.nodes {
        node.cli(&["config", "set", "cluster-require-full-coverage", "no"]);
    }
    let options = RedisOptions {
        redis_timeout: Duration::from_secs(1),
        ..options()
    };
    let (backend, views) = (backend(&cluster.url(), &options), conformance::views());
    let view = views.view("Order").unwrap();
    let keys: Vec<EntityKey> = (0..100).map(|at| key(&format!("shared-{at}"))).collect();
    let rows = keys.iter().map(|key| (key.clone(), number(1, 1))).collect();
    backend.write(view, rows).await.unwrap();
    cluster.nodes[1].kill();
    let mut lost = 0;
    for key in &keys {
        match backend.read(view, std::slice::from_ref(key)).await {
            Ok(rows) => assert_eq!(rows, [Some(number(1, 1))]),
            Err(error) => {
                assert!(error.transient, "{error:?}");
                lost += 1;
            }
        }
    }
    assert!((1..70).contains(&lost), "{lost} of 100 entities are lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts servers of its own with .ci/components"]
async fn a_replica_that_takes_over_is_found() {
    let mut cluster = Cluster::start();
    cluster.add_replica();
    let options = RedisOptions {
        redis_timeout: Duration::from_secs(1),
        ..options()
    };
    let (backend, views) = (backend(&cluster.url(), &options), conformance::views());
    let view = views.view("Order").unwrap();
    let keys: Vec<EntityKey> = (0..100).map(|at| key(&format!("shared-{at}"))).collect();
    let write = async |round| {
        backend
            .write(
                view,
                keys.iter()
                    .map(|key| (key.clone(), number(round, round)))
                    .collect(),
            )
            .await
    };
    write(1).await.unwrap();
    // Frozen is worse than dead: its connections stay open.
    cluster.nodes[0].signal("STOP");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while let Err(error) = write(2).await {
        assert!(
            error.transient && tokio::time::Instant::now() < deadline,
            "{error:?}"
        );
    }
    let read = backend.read(view, &keys).await.unwrap();
    assert!(read.into_iter().all(|row| row == Some(number(2, 2))));
    assert!(
        cluster.nodes[3].cli(&["role"]).starts_with("master"),
        "the replica has the slots now"
    );
}

#[tokio::test]
#[ignore = "starts servers of its own with .ci/components"]
async fn tls_conforms_and_checks_the_certificate() {
    let server = TlsServer::start();
    let url = format!("rediss://localhost:{}", server.port);
    let mut trusting = options();
    trusting.redis_ca_cert = Some(server.file("ca.crt"));
    conformance::check(&backend(&url, &trusting)).await;

    let error = backend(&url, &options()).ping().await.unwrap_err();
    assert_eq!(
        (error.error_type, error.transient),
        ("tls", true),
        "an unknown authority: {error:?}"
    );
    let plain = format!("rediss://localhost:{}", server.plain.port);
    let error = backend(&plain, &trusting).ping().await.unwrap_err();
    assert!(
        ["tls", "timeout", "connection_lost"].contains(&error.error_type),
        "no TLS on that port: {error:?}"
    );

    server
        .plain
        .cli(&["config", "set", "tls-auth-clients", "yes"]);
    backend(&url, &trusting)
        .ping()
        .await
        .expect_err("the client has to show a certificate");
    trusting.redis_client_cert = Some(server.file("tls.crt"));
    trusting.redis_client_key = Some(server.file("tls.key"));
    backend(&url, &trusting).ping().await.unwrap();
}

#[tokio::test]
#[ignore = "starts servers of its own with .ci/components"]
async fn a_cluster_with_tls_conforms() {
    let nodes = TlsServer::start_cluster();
    let mut trusting = options();
    trusting.redis_ca_cert = Some(nodes[0].file("ca.crt"));
    conformance::check(&backend(
        &format!("rediss+cluster://127.0.0.1:{}", nodes[1].port),
        &trusting,
    ))
    .await;
}

#[tokio::test]
#[ignore = "needs a server: set THROUGHLINE_TEST_REDIS_URL"]
async fn an_entity_is_a_hash_that_people_can_read() {
    let (options, views) = (options(), conformance::views());
    let backend = backend(&shared(), &options);
    let view = views.view("everything").unwrap();
    let values = [
        Some(FeatureValue::Float(7.4)),
        Some(FeatureValue::Float(f64::NEG_INFINITY)),
        Some(FeatureValue::Int(-3)),
        None,
        Some(FeatureValue::Text("red".into())),
        Some(FeatureValue::Bool(true)),
        Some(FeatureValue::Bytes([0xff].into())),
    ];
    backend
        .write(
            view,
            vec![(
                key("w"),
                Row {
                    event_time: at(1_000),
                    values: values.into(),
                },
            )],
        )
        .await
        .unwrap();
    let name = format!("{}everything:w", options.redis_key_prefix);
    let fields = backend
        .connection
        .send(vec![KeyedCommand::new(
            "",
            redis::cmd("HGETALL").arg(name).clone(),
        )])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    let mut fields: Vec<(String, Vec<u8>)> = redis::from_redis_value(fields).unwrap();
    fields.sort();
    let expected: [(&str, &[u8]); 7] = [
        ("__event_time", b"1000"),
        ("f32", b"-inf"),
        ("f64", b"7.4"),
        ("flag", b"true"),
        ("i64", b"-3"),
        ("raw", b"\xff"),
        ("text", b"red"),
    ];
    assert_eq!(
        fields,
        expected.map(|(field, value)| (field.to_owned(), value.to_vec())),
        "null is no field"
    );
}

#[tokio::test]
#[ignore = "needs a server: set THROUGHLINE_TEST_REDIS_URL"]
async fn a_changed_view_finds_null_for_a_new_feature_and_cannot_read_a_value_of_another_dtype() {
    let (options, views) = (options(), conformance::views());
    let backend = backend(&shared(), &options);
    let row = Row {
        event_time: at(1),
        values: [Some(FeatureValue::Text("many".into()))].into(),
    };
    let declared = |dtype: &str, more: &str| {
        let text = format!(
            "[[feature_view]]\nname = \"v\"\njoin_keys = [\"id\"]\nfeatures = [{{ name = \"n\", dtype = \"{dtype}\" }}{more}]"
        );
        Views::parse(&text).unwrap()
    };
    backend
        .write(&declared("string", "").all()[0], vec![(key("a"), row)])
        .await
        .unwrap();
    let wider = declared("string", ", { name = \"new\", dtype = \"int64\" }");
    let read = backend
        .read(&wider.all()[0], &[key("a")])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(
        *read.values,
        [Some(FeatureValue::Text("many".into())), None]
    );
    let read = backend
        .read(&declared("int64", "").all()[0], &[key("a"), key("none")])
        .await
        .unwrap();
    let row = read[0].as_ref().unwrap();
    assert_eq!(*row.values, [Some(FeatureValue::Unreadable)]);
    assert_eq!((row.event_time, &read[1]), (at(1), &None));

    // Somebody else's key in the way.
    let name = format!("{}Order:b", options.redis_key_prefix);
    backend
        .connection
        .send(vec![KeyedCommand::new(
            "",
            redis::cmd("SET").arg(name).arg(1).clone(),
        )])
        .await
        .unwrap();
    let view = views.view("Order").unwrap();
    let good = vec![(key("c"), number(1, 1))];
    backend.write(view, good).await.unwrap();
    assert_eq!(
        backend.read(view, &[key("b"), key("c")]).await.unwrap(),
        [Some(Row::all_unreadable(view)), Some(number(1, 1))],
        "it takes no other entity with it"
    );
    let error = backend
        .write(view, vec![(key("b"), number(1, 1))])
        .await
        .expect_err("nor is it overwritten");
    assert_eq!(
        (error.error_type, error.status_code, error.transient),
        ("WRONGTYPE", Some("WRONGTYPE"), false)
    );
}

#[tokio::test]
#[ignore = "starts servers of its own with .ci/components"]
async fn a_server_that_forgot_the_script_gets_its_text() {
    let (server, views) = (RedisServer::start(&[]), conformance::views());
    let backend = backend(&server.url(), &options());
    let view = views.view("Order").unwrap();
    for round in 1..4 {
        let rows = (0..50)
            .map(|at| (key(&at.to_string()), number(round, at)))
            .collect();
        assert_eq!(backend.write(view, rows).await.unwrap().written, 50);
        server.cli(&["script", "flush"]);
    }
    let stats = server.cli(&["info", "commandstats"]);
    assert!(stats.contains("cmdstat_evalsha:calls=150"), "{stats}");
}

#[tokio::test]
#[ignore = "starts servers of its own with .ci/components"]
async fn an_idle_connection_that_was_closed_costs_no_call() {
    let server = RedisServer::start(&[]);
    let backend = backend(&server.url(), &options());
    backend.ping().await.unwrap();
    server.cli(&["client", "kill", "type", "normal"]);
    backend.ping().await.unwrap();
    server.kill();
    server.start_again();
    backend.ping().await.unwrap();
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_an_error_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for url in [
        format!("redis://{address}"),
        format!("redis+cluster://{address}"),
    ] {
        let error = backend(&url, &options()).ping().await.unwrap_err();
        assert!(error.transient && error.status_code.is_none(), "{error:?}");
        assert!(
            ["connection_refused", "connection_lost"].contains(&error.error_type),
            "{url}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let options = RedisOptions {
        redis_timeout: Duration::from_millis(200),
        ..options()
    };
    for url in [
        format!("redis://{address}"),
        format!("redis+cluster://{address}"),
        format!("rediss://{address}"),
    ] {
        let backend = backend(&url, &options);
        let begun = std::time::Instant::now();
        let calls = futures_util::future::join_all((0..20).map(|_| backend.ping())).await;
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{url}: {:?}",
            begun.elapsed()
        );
        for call in calls {
            let error = call.unwrap_err();
            assert!(
                ["timeout", "connection_lost"].contains(&error.error_type) && error.transient,
                "{url}: {error:?}"
            );
        }
    }
}
