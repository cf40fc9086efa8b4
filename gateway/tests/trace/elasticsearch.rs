//! The same on Elasticsearch: on a real one what it does, on a stub what a real one cannot be made to show.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::response::IntoResponse;
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fake::{Fake, SPAN_ID, TRACE_ID};
use crate::process::{Process, eventually, server, tree};

/// A way between gateway and server, which sees the headers of what passes and can hold it up.
struct Proxy {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
    gate: Arc<tokio::sync::watch::Sender<bool>>,
}

impl Proxy {
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (heads, gate) = (
            Arc::<Mutex<Vec<String>>>::default(),
            Arc::new(tokio::sync::watch::Sender::new(true)),
        );
        let (seen, open) = (Arc::clone(&heads), Arc::clone(&gate));
        telemetry::task::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (seen, mut open) = (Arc::clone(&seen), open.subscribe());
                let server = tokio::net::TcpStream::connect(&server).await.unwrap();
                telemetry::task::spawn(async move {
                    let ((mut from, mut back), (mut answers, mut to)) =
                        (client.into_split(), server.into_split());
                    let there = async {
                        let mut buffer = vec![0; 1 << 16];
                        loop {
                            let count = from.read(&mut buffer).await.unwrap_or_default();
                            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                            if text.contains("/_bulk") {
                                open.wait_for(|open| *open).await.unwrap();
                            }
                            seen.lock().unwrap().push(text);
                            if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
                                break;
                            }
                        }
                    };
                    let answers = tokio::io::copy(&mut answers, &mut back);
                    tokio::select! { () = there => {}, _ = answers => {} }
                });
            }
        });
        Self {
            address,
            heads,
            gate,
        }
    }

    /// The value of a header of the first request to a path in a trace.
    fn header(&self, path: &str, trace: &str, name: &str) -> String {
        let heads = self.heads.lock().unwrap();
        let head = heads
            .iter()
            .find(|head| head.contains(path) && head.contains(trace))
            .unwrap();
        let value = head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_default().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
async fn the_gateway_tells_what_it_did_with_elasticsearch() {
    let url = std::env::var("THROUGHLINE_TEST_ELASTICSEARCH_URL")
        .expect("THROUGHLINE_TEST_ELASTICSEARCH_URL");
    let address = url
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let (fake, proxy) = (Fake::start().await, Proxy::start(address).await);
    let alias = format!("test-trace-{}", uuid::Uuid::new_v4().simple());
    let node = format!("http://user:s3cret@{}", proxy.address);
    let store = [
        "--prediction-store",
        &node,
        "--elasticsearch-index",
        &alias,
        "--prediction-store-timeout",
        "30s",
    ];
    let gateway = Process::with(&fake, tempfile::tempdir().unwrap(), &store).await;

    let (_, _, miss) = gateway.predict(&["a"]).await;
    let (_, _, hit) = gateway.predict(&["a"]).await;
    let (_, _, part) = gateway.predict(&["b", "c", "a"]).await;
    let (status, _, search) = gateway
        .send("GET", "/v1/predictions?limit=1", &[], String::new())
        .await;
    assert_eq!(status, 200);

    // While one bulk is held up, the next one collects.
    proxy.gate.send_replace(false);
    let computed = || {
        gateway
            .log
            .lock()
            .unwrap()
            .matches("prediction.computed")
            .count()
    };
    let before = computed();
    let after = |count: usize| {
        eventually("so many are computed", async move || {
            computed() >= before + count
        })
    };
    let ((_, _, first), (_, _, second), (_, _, third), ()) = tokio::join!(
        gateway.predict(&["d"]),
        async {
            after(1).await;
            gateway.predict(&["e"]).await
        },
        async {
            after(2).await;
            gateway.predict(&["f", "g"]).await
        },
        async {
            after(3).await;
            proxy.gate.send_replace(true);
        }
    );
    let (spans, log) = gateway.stop().await;
    let client: Client<_, Full<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    for path in [format!("{alias}-v1"), format!("_index_template/{alias}")] {
        let request = Request::delete(format!("{}/{path}", url.trim_end_matches('/')))
            .body(Full::default())
            .unwrap();
        assert_eq!(client.request(request).await.unwrap().status(), 200);
    }

    let span = |trace: &str, name: &str| {
        let name = format!("{name} {alias}");
        spans
            .iter()
            .find(|span| span.trace == trace && span.name == name)
            .unwrap()
            .clone()
    };
    let of_a_miss = format!(
        "POST /v1/predictions SERVER\n  mget {alias} CLIENT\n  POST CLIENT\n  bulk {alias} CLIENT\n"
    );
    for trace in [&miss, &part, &first, &second, &third] {
        assert_eq!(tree(&spans, trace), of_a_miss);
    }
    assert_eq!(
        tree(&spans, &hit),
        format!("POST /v1/predictions SERVER\n  mget {alias} CLIENT\n")
    );
    assert_eq!(
        tree(&spans, &search),
        format!("GET /v1/predictions SERVER\n  search {alias} CLIENT\n")
    );
    assert_eq!(
        server(&spans, &hit).links,
        [(TRACE_ID.to_owned(), SPAN_ID.to_owned())]
    );

    let mget = span(&hit, "mget");
    let (host, number) = proxy.address.split_once(':').unwrap();
    let expected = BTreeMap::from([
        ("db.system.name", "elasticsearch".to_owned()),
        ("db.operation.name", "mget".to_owned()),
        ("db.collection.name", alias.clone()),
        ("db.response.status_code", "200".to_owned()),
        ("http.request.method", "POST".to_owned()),
        (
            "url.full",
            format!("http://{}/{alias}/_mget", proxy.address),
        ),
        ("server.address", host.to_owned()),
        ("server.port", number.to_owned()),
    ]);
    let told: BTreeMap<_, _> = mget
        .attributes
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(told, expected);
    assert!(
        !span(&miss, "bulk")
            .attributes
            .contains_key("db.operation.batch.size"),
        "one is no batch"
    );
    assert_eq!(
        span(&part, "bulk").attributes["db.operation.batch.size"],
        "2"
    );

    // Elasticsearch got the context of the span, and the trace id for its slow log.
    let sent = proxy.header("/_mget", &hit, "traceparent");
    assert_eq!(sent, format!("00-{hit}-{}-01", mget.id));
    assert_eq!(proxy.header("/_mget", &hit, "x-opaque-id"), hit);
    assert_eq!(
        proxy.header("/_mget", &hit, "authorization"),
        "Basic dXNlcjpzM2NyZXQ="
    );

    // The joined bulk: one call, linked to the requests of all its members, and the others linked to it.
    let bulks = [span(&second, "bulk"), span(&third, "bulk")];
    let calls: Vec<_> = bulks.iter().filter(|bulk| bulk.links.len() == 2).collect();
    let [call] = calls.as_slice() else {
        panic!("one call for two requests: {bulks:?}")
    };
    let mut requests: Vec<_> = [&second, &third]
        .map(|trace| (trace.clone(), server(&spans, trace).id.clone()))
        .into();
    let mut links = call.links.clone();
    requests.sort();
    links.sort();
    assert_eq!(links, requests);
    assert_eq!(call.attributes["db.operation.batch.size"], "3");
    let other = bulks.iter().find(|bulk| bulk.trace != call.trace).unwrap();
    assert_eq!(other.links, [(call.trace.clone(), call.id.clone())]);
    let sent = proxy
        .heads
        .lock()
        .unwrap()
        .iter()
        .filter(|text| text.contains("/_bulk"))
        .count();
    assert_eq!(sent, 4, "five writes in four calls");

    assert!(
        spans
            .iter()
            .all(|span| span.kind == 2 || !span.parent.is_empty()),
        "{spans:?}"
    );
    assert!(!log.contains("s3cret") && !format!("{spans:?}").contains("s3cret"));
    assert!(log.contains("prediction_store.ready"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tries_statuses_and_failed_items_are_on_the_span() {
    let mgets = Arc::new(Mutex::new(0));
    let answer = async move |uri: Uri| {
        let mut mgets = mgets.lock().unwrap();
        *mgets += usize::from(uri.path().ends_with("_mget"));
        let handled = [
            ("x-found-handling-cluster", "blue"),
            ("x-found-handling-instance", "instance-7"),
        ];
        let (status, body) = match (uri.path(), *mgets) {
            ("/predictions/_mget", 1) => (503, "{}"),
            ("/predictions/_mget", 3) => (
                401,
                r#"{"error":{"type":"security_exception","reason":"who?"},"status":401}"#,
            ),
            ("/predictions/_mget", _) => (200, r#"{"docs":[{"found":false}]}"#),
            ("/predictions/_bulk", _) => {
                let item = r#"{"index":{"status":400,"error":{"type":"document_parsing_exception","reason":"no"}}}"#;
                return (handled, format!(r#"{{"errors":true,"items":[{item}]}}"#)).into_response();
            }
            _ => (200, "{}"),
        };
        (StatusCode::from_u16(status).unwrap(), handled, body).into_response()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    telemetry::task::spawn(async move {
        axum::serve(listener, Router::new().fallback(answer))
            .await
            .unwrap()
    });
    let fake = Fake::start().await;
    let gateway = Process::with(
        &fake,
        tempfile::tempdir().unwrap(),
        &["--prediction-store", &url],
    )
    .await;
    let (_, _, again) = gateway.predict(&["a"]).await;
    let (_, _, refused) = gateway.predict(&["b"]).await;
    let (spans, _) = gateway.stop().await;

    let span = |trace: &str, name: &str| {
        spans
            .iter()
            .find(|span| span.trace == trace && span.name == name)
            .unwrap()
    };
    let mget = span(&again, "mget predictions");
    assert!(!mget.error);
    assert_eq!(mget.attributes["http.request.resend_count"], "1");
    assert_eq!(mget.attributes["db.response.status_code"], "200");
    assert_eq!(
        (
            &mget.attributes["db.namespace"],
            &mget.attributes["elasticsearch.node.name"]
        ),
        (&"blue".into(), &"instance-7".into())
    );
    let bulk = span(&again, "bulk predictions");
    assert!(bulk.error);
    assert_eq!(bulk.attributes["error.type"], "document_parsing_exception");
    assert_eq!(
        bulk.attributes["db.response.status_code"], "200",
        "the call went well, an item did not"
    );
    let mget = span(&refused, "mget predictions");
    assert!(mget.error);
    assert_eq!(mget.attributes["error.type"], "security_exception");
    assert_eq!(mget.attributes["db.response.status_code"], "401");
    assert!(!mget.attributes.contains_key("http.request.resend_count"));
}
