//! A stub of Elasticsearch for the few calls of the store, with answers that a test chooses.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use super::super::{Addresses, ElasticsearchOptions, ElasticsearchStore};

/// A running stub; it stops when it is dropped.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    script: Arc<Script>,
    _stop: oneshot::Sender<()>,
}

/// The answers to give, and the requests received.
#[derive(Default)]
struct Script {
    /// The next answers, before the usual ones.
    next: Mutex<VecDeque<(u16, String)>>,
    /// The answer to everything, if there is one.
    always: Mutex<Option<(u16, String)>>,
    seen: Mutex<Vec<Seen>>,
    /// Requests are answered while it is false.
    held: watch::Sender<bool>,
}

/// A request received.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Stub {
    pub(crate) async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (address, script) = (listener.local_addr().unwrap(), Arc::<Script>::default());
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&script));
        telemetry::task::spawn(async move {
            let serve = axum::serve(listener, router).into_future();
            tokio::select! { served = serve => served.unwrap(), _ = stopped => {} }
        });
        Self {
            address,
            script,
            _stop: stop,
        }
    }

    pub(crate) fn store(&self, options: &ElasticsearchOptions) -> ElasticsearchStore {
        store(&[self.address], options)
    }

    /// Sets the next answer, whatever the request is.
    pub(crate) fn answer(&self, status: u16, body: &str) {
        self.script
            .next
            .lock()
            .unwrap()
            .push_back((status, body.to_owned()));
    }

    /// Sets the answer to everything from now on; `None` for the usual ones.
    pub(crate) fn always(&self, answer: Option<(u16, &str)>) {
        *self.script.always.lock().unwrap() =
            answer.map(|(status, body)| (status, body.to_owned()));
    }

    /// Holds up all answers, or gives them.
    pub(crate) fn hold(&self, held: bool) {
        self.script.held.send_replace(held);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.script.seen.lock().unwrap().clone()
    }

    /// The requests whose path has this word.
    pub(crate) fn seen_at(&self, word: &str) -> Vec<Seen> {
        self.seen()
            .into_iter()
            .filter(|seen| seen.path.contains(word))
            .collect()
    }
}

/// A store on several nodes, with a time limit that tests can wait for.
pub(crate) fn store(nodes: &[SocketAddr], options: &ElasticsearchOptions) -> ElasticsearchStore {
    let nodes: Vec<String> = nodes.iter().map(|node| format!("http://{node}")).collect();
    let addresses: Addresses = nodes.join(",").parse().unwrap();
    ElasticsearchStore::new(Some(&addresses), options, Duration::from_secs(5)).unwrap()
}

async fn answer(
    State(script): State<Arc<Script>>,
    _: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (path, body) = (uri.to_string(), String::from_utf8(body.to_vec()).unwrap());
    script.seen.lock().unwrap().push(Seen {
        path: path.clone(),
        headers,
        body: body.clone(),
    });
    let mut held = script.held.subscribe();
    held.wait_for(|held| !*held).await.unwrap();
    let chosen = script
        .next
        .lock()
        .unwrap()
        .pop_front()
        .or_else(|| script.always.lock().unwrap().clone());
    if let Some((status, body)) = chosen {
        return (StatusCode::from_u16(status).unwrap(), body).into_response();
    }
    usual(&path, &body).into_response()
}

/// The answers of an empty index that accepts every write.
fn usual(path: &str, body: &str) -> String {
    if path.contains("_mget") {
        let ids: serde_json::Value = serde_json::from_str(body).unwrap();
        let docs = vec![r#"{"found":false}"#; ids["ids"].as_array().unwrap().len()];
        format!(r#"{{"docs":[{}]}}"#, docs.join(","))
    } else if path.contains("_bulk") {
        let items = vec![r#"{"index":{"status":201}}"#; body.lines().count() / 2];
        format!(r#"{{"errors":false,"items":[{}]}}"#, items.join(","))
    } else if path.contains("_search") {
        r#"{"hits":{"hits":[]}}"#.to_owned()
    } else {
        "{}".to_owned()
    }
}
