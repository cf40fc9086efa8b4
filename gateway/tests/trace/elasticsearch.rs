//! The gateway's trace with Elasticsearch: a real server, and a stub for answers that a real one
//! cannot be made to give.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::response::IntoResponse;
use harness::{Answer, SpanData, send_async, wait_until_async};
use http::{StatusCode, Uri};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fake::{Fake, SPAN_ID, TRACE_ID};
use crate::process::{Gateway, links};

/// A proxy between gateway and server that keeps what it forwards and can hold up bulk requests.
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
#[expect(
    clippy::too_many_lines,
    reason = "one gateway exports the traces of all requests"
)]
async fn calls_of_elasticsearch_are_traced() {
    let url = std::env::var("THROUGHLINE_TEST_ELASTICSEARCH_URL")
        .expect("THROUGHLINE_TEST_ELASTICSEARCH_URL");
    let url = url.trim_end_matches('/');
    let address = url.trim_start_matches("http://").to_owned();
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
    let gateway = Gateway::start_with(&fake, tempfile::tempdir().unwrap(), &store);

    let miss = gateway.predict(&["a"]).await;
    let hit = gateway.predict(&["a"]).await;
    let part = gateway.predict(&["b", "c", "a"]).await;
    let search = gateway
        .send("GET", "/v1/predictions?limit=1", &[], String::new())
        .await;
    assert_eq!(search.status, 200);

    // While one bulk is held up, the next one collects.
    proxy.gate.send_replace(false);
    let before = computed(&gateway);
    let (first, second, third, ()) = tokio::join!(
        gateway.predict(&["d"]),
        async {
            wait_computed(&gateway, before + 1).await;
            gateway.predict(&["e"]).await
        },
        async {
            wait_computed(&gateway, before + 2).await;
            gateway.predict(&["f", "g"]).await
        },
        async {
            wait_computed(&gateway, before + 3).await;
            proxy.gate.send_replace(true);
        }
    );
    let ended = gateway.stop();
    for path in [format!("{alias}-v1"), format!("_index_template/{alias}")] {
        let deleted = send_async("DELETE", &format!("{url}/{path}"), &[], "").await;
        assert_eq!(deleted.unwrap().status, 200);
    }

    let miss_tree = format!(
        "POST /v1/predictions SERVER\n  mget {alias} CLIENT\n  POST CLIENT\n  bulk {alias} CLIENT\n"
    );
    for answer in [&miss, &part, &first, &second, &third] {
        assert_eq!(ended.tree(answer), miss_tree);
    }
    assert_eq!(
        ended.tree(&hit),
        format!("POST /v1/predictions SERVER\n  mget {alias} CLIENT\n")
    );
    assert_eq!(
        ended.tree(&search),
        format!("GET /v1/predictions SERVER\n  search {alias} CLIENT\n")
    );
    assert_eq!(
        links(&ended.server(&hit)),
        [(TRACE_ID.to_owned(), SPAN_ID.to_owned())]
    );

    let (mget_span, bulk_span) = (format!("mget {alias}"), format!("bulk {alias}"));
    let mget = ended.span(&hit, &mget_span);
    let (server_address, server_port) = proxy.address.split_once(':').unwrap();
    let url_full = format!("http://{}/{alias}/_mget", proxy.address);
    let expected = [
        ("db.system.name", json!("elasticsearch")),
        ("db.operation.name", json!("mget")),
        ("db.collection.name", json!(alias)),
        ("db.response.status_code", json!("200")),
        ("http.request.method", json!("POST")),
        ("url.full", json!(url_full)),
        ("server.address", json!(server_address)),
        ("server.port", json!(server_port.parse::<u16>().unwrap())),
    ];
    let expected: BTreeMap<String, Value> =
        expected.map(|(key, value)| (key.to_owned(), value)).into();
    assert_eq!(mget.attributes, expected);
    assert!(
        !ended
            .span(&miss, &bulk_span)
            .attributes
            .contains_key("db.operation.batch.size"),
        "one is no batch"
    );
    assert_eq!(
        ended.span(&part, &bulk_span).attributes["db.operation.batch.size"],
        2
    );

    // Elasticsearch got the context of the span, and the trace id for its slow log.
    let trace_id = hit.trace_id();
    let sent = proxy.header("/_mget", &trace_id, "traceparent");
    assert_eq!(sent, format!("00-{trace_id}-{}-01", mget.span_id));
    assert_eq!(proxy.header("/_mget", &trace_id, "x-opaque-id"), trace_id);
    assert_eq!(
        proxy.header("/_mget", &trace_id, "authorization"),
        "Basic dXNlcjpzM2NyZXQ="
    );

    // The joined bulk is one call that links to the requests of all its members; the other bulk
    // spans link to it.
    let bulks = [&second, &third].map(|answer| (answer, ended.span(answer, &bulk_span)));
    let calls: Vec<_> = bulks
        .iter()
        .filter(|(_, bulk)| bulk.links.len() == 2)
        .collect();
    let [(caller, call)] = calls.as_slice() else {
        panic!("one call for two requests: {bulks:?}")
    };
    let mut requests =
        [&second, &third].map(|answer| (answer.trace_id(), ended.server(answer).span_id));
    let mut linked = links(call);
    requests.sort();
    linked.sort();
    assert_eq!(linked, requests);
    assert_eq!(call.attributes["db.operation.batch.size"], 3);
    let (_, other) = bulks
        .iter()
        .find(|(answer, _)| answer.trace_id() != caller.trace_id())
        .unwrap();
    assert_eq!(links(other), [(caller.trace_id(), call.span_id.clone())]);
    let sent = proxy
        .heads
        .lock()
        .unwrap()
        .iter()
        .filter(|text| text.contains("/_bulk"))
        .count();
    assert_eq!(sent, 4, "five writes in four calls");

    assert!(ended.roots_are_servers());
    assert!(!ended.everything().contains("s3cret"));
    let log = &ended.log;
    assert!(log.contains("prediction_store.ready"), "{log}");
}

/// Serves a stub of Elasticsearch and returns its address.
async fn serve(stub: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    telemetry::task::spawn(async move { axum::serve(listener, stub).await.unwrap() });
    url
}

async fn wait_computed(gateway: &Gateway, count: usize) {
    wait_until_async("so many predictions are computed", async || {
        computed(gateway) >= count
    })
    .await;
}

/// How many predictions a gateway has computed.
fn computed(gateway: &Gateway) -> usize {
    gateway.log().matches("prediction.computed").count()
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
    let url = serve(Router::new().fallback(answer)).await;
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_with(&fake, folder, &["--prediction-store", &url]);
    let again = gateway.predict(&["a"]).await;
    let refused = gateway.predict(&["b"]).await;
    let ended = gateway.stop();

    let mget = ended.span(&again, "mget predictions");
    assert!(!mget.is_error());
    assert_eq!(mget.attributes["http.request.resend_count"], 1);
    assert_eq!(mget.attributes["db.response.status_code"], "200");
    assert_eq!(mget.attributes["db.namespace"], "blue");
    assert_eq!(mget.attributes["elasticsearch.node.name"], "instance-7");
    let bulk = ended.span(&again, "bulk predictions");
    assert!(bulk.is_error());
    assert_eq!(bulk.attributes["error.type"], "document_parsing_exception");
    assert_eq!(
        bulk.attributes["db.response.status_code"], "200",
        "the call went well, an item did not"
    );
    let mget = ended.span(&refused, "mget predictions");
    assert!(mget.is_error());
    assert_eq!(mget.attributes["error.type"], "security_exception");
    assert_eq!(mget.attributes["db.response.status_code"], "401");
    assert!(!mget.attributes.contains_key("http.request.resend_count"));
}

/// Answers that nothing is stored; it keeps how many ids each lookup had.
async fn start_empty_store() -> (String, Arc<Mutex<Vec<usize>>>) {
    let sizes = Arc::<Mutex<Vec<usize>>>::default();
    let seen = Arc::clone(&sizes);
    let answer = async move |uri: Uri, body: String| {
        if !uri.path().ends_with("_mget") {
            return r#"{"errors":false,"items":[{"index":{"status":201}}]}"#.to_owned();
        }
        let ids: Value = serde_json::from_str(&body).unwrap();
        let count = ids["ids"].as_array().unwrap().len();
        seen.lock().unwrap().push(count);
        format!(
            r#"{{"docs":[{}]}}"#,
            vec![r#"{"found":false}"#; count].join(",")
        )
    };
    (serve(Router::new().fallback(answer)).await, sizes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_that_go_together_link_to_their_call() {
    let (url, sizes) = start_empty_store().await;
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let options = [
        "--prediction-store",
        &url,
        "--prediction-store-timeout",
        "30s",
    ];
    let gateway = Gateway::start_with(&fake, folder, &options);
    let mut answers = Vec::new();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // Which of them meet is a matter of time.
    while sizes.lock().unwrap().iter().all(|size| *size < 2) {
        assert!(std::time::Instant::now() < end, "no lookups go together");
        let ids = (0..16).map(|number| format!("{}-{number}", answers.len()));
        let asked = ids.map(async |id| gateway.predict(&[&id]).await);
        answers.extend(futures_util::future::join_all(asked).await);
    }
    let ended = gateway.stop();

    let span = |answer: &Answer| (answer.trace_id(), ended.span(answer, "mget predictions"));
    let spans: Vec<(String, SpanData)> = answers.iter().map(span).collect();
    let size = |span: &SpanData| {
        let size = span.attributes.get("db.operation.batch.size");
        size.map_or(1, |size| size.as_u64().unwrap() as usize)
    };
    let (others, calls): (Vec<_>, Vec<_>) =
        spans.iter().partition(|(_, span)| !span.links.is_empty());
    let mut asked: Vec<usize> = calls.iter().map(|(_, span)| size(span)).collect();
    let mut seen = sizes.lock().unwrap().clone();
    asked.sort_unstable();
    seen.sort_unstable();
    assert_eq!(asked, seen, "the span of a call has its size");
    for (_, other) in others {
        assert!(!other.attributes.contains_key("db.operation.batch.size"));
        assert_eq!(other.attributes["db.response.status_code"], "200");
        let [link] = &links(other)[..] else {
            panic!("one link: {other:?}");
        };
        let is_target =
            |(trace, call): &&&(String, SpanData)| (trace, &call.span_id) == (&link.0, &link.1);
        let (_, call) = calls.iter().find(is_target).unwrap();
        assert!(size(call) > 1);
    }
}
