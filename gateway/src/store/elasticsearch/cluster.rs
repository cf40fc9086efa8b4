//! Calls of a cluster: a span for each, the trace context in its headers, a node that is alive, and a few more tries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::http::headers::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use elasticsearch::http::{Method, StatusCode};
use telemetry::db::{self, DbSpan};
use telemetry::{Context, KeyValue, attr};
use tokio::time::Instant;

use super::SetupError;
use super::failure::Failure;
use super::node::Node;
use super::settings::Settings;

/// A wait before the second try is no longer than this; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const OPAQUE_ID: HeaderName = HeaderName::from_static("x-opaque-id");
const TRACEPARENT: &str = "traceparent";

/// The nodes of one cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    nodes: Vec<Node>,
    turn: AtomicUsize,
    /// For one call with its retries.
    pub(super) patience: Duration,
    retries: u32,
}

/// An operation that is called again and again.
#[derive(Debug)]
pub(super) struct Endpoint {
    operation: &'static str,
    collection: String,
    path: String,
    /// What the span of a call shows from its start, for each node.
    shown: Vec<[KeyValue; 4]>,
}

/// A call under way: its span, and the node that it goes to first.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) span: DbSpan,
    node: Option<usize>,
}

/// What goes over the wire.
#[derive(Clone, Debug)]
struct Message<'a> {
    method: Method,
    path: &'a str,
    headers: HeaderMap,
    body: Option<Bytes>,
}

/// What became of a message.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) result: Result<Answer, Failure>,
    /// The tries after the first one.
    pub(super) resent: u32,
}

/// An answer with a good status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Bytes,
    status: StatusCode,
    handled: Handled,
}

/// Who answered, where a proxy before the cluster tells it.
#[derive(Debug)]
struct Handled {
    cluster: Option<String>,
    node: Option<String>,
}

impl Call {
    /// The failure of a call that need not be sent: every node is down.
    pub(super) fn is_vain(&self) -> Option<Failure> {
        self.node.is_none().then_some(Failure::AllDown)
    }
}

impl Cluster {
    pub(super) fn new(settings: &Settings) -> Result<Self, SetupError> {
        let nodes = settings
            .nodes
            .iter()
            .map(|url| Node::new(url.clone(), settings))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            nodes,
            turn: AtomicUsize::new(0),
            patience: settings.patience,
            retries: settings.retries,
        })
    }

    /// Host and port of each node.
    pub(super) fn names(&self) -> String {
        self.nodes
            .iter()
            .map(Node::name)
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Prepares `POST /{collection}/{action}`; the path may have a query without secrets.
    pub(super) fn endpoint(
        &self,
        operation: &'static str,
        collection: &str,
        action: &str,
    ) -> Endpoint {
        let path = format!("{collection}/{action}");
        let shown = |node: &Node| {
            let url: Arc<str> = format!("{}{path}", node.url).into();
            let host: Arc<str> = node
                .url
                .host_str()
                .unwrap_or_default()
                .trim_matches(['[', ']'])
                .into();
            [
                KeyValue::new(attr::HTTP_REQUEST_METHOD, "POST"),
                KeyValue::new(attr::URL_FULL, url),
                KeyValue::new(attr::SERVER_ADDRESS, host),
                KeyValue::new(
                    attr::SERVER_PORT,
                    i64::from(node.url.port_or_known_default().unwrap_or_default()),
                ),
            ]
        };
        Endpoint {
            operation,
            collection: collection.to_owned(),
            shown: self.nodes.iter().map(shown).collect(),
            path,
        }
    }

    /// Starts a call below the current span.
    pub(super) fn start(&self, endpoint: &Endpoint) -> Call {
        let node = self.pick(None);
        let shown = node.or(Some(0)).and_then(|node| endpoint.shown.get(node));
        let operation = db::Operation {
            system: "elasticsearch",
            operation: endpoint.operation,
            collection: endpoint.collection.clone(),
            namespace: None,
        };
        Call {
            span: db::start_with(
                operation,
                shown.map(|shown| shown.to_vec()).unwrap_or_default(),
            ),
            node,
        }
    }

    /// Sends what `call` is about. What came of it is told to the span by [`Sent::describe`].
    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        body: Bytes,
        deadline: Instant,
    ) -> Sent {
        let headers = headers(Some(&call.span.context()));
        let message = Message {
            method: Method::Post,
            path: &endpoint.path,
            headers,
            body: Some(body),
        };
        match call.node {
            Some(node) => self.exchange(message, node, deadline).await,
            None => Failure::AllDown.into(),
        }
    }

    /// Sends what belongs to no request's trace, such as the making of the index.
    pub(super) async fn manage(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let message = Message {
            method,
            path,
            headers: headers(None),
            body,
        };
        // Whoever comes here has a reason, and may be the one who learns that the cluster is back.
        let node = self.pick(None).unwrap_or_default();
        self.exchange(message, node, deadline).await.result
    }

    /// Sends one message, with a few more tries while there is time.
    async fn exchange(&self, message: Message<'_>, mut node: usize, deadline: Instant) -> Sent {
        let mut resent = 0;
        loop {
            let result = self
                .attempt(&self.nodes[node], message.clone(), deadline)
                .await;
            let passing = result.as_ref().is_err_and(Failure::is_passing);
            if !passing || resent >= self.retries || !backoff(resent, deadline).await {
                return Sent { result, resent };
            }
            resent += 1;
            node = self.pick(Some(node)).unwrap_or(node);
        }
    }

    async fn attempt(
        &self,
        node: &Node,
        message: Message<'_>,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let Message {
            method,
            path,
            headers,
            body,
        } = message;
        let left = deadline.saturating_duration_since(Instant::now());
        let sent = node
            .transport
            .send(method, path, headers, None::<&()>, body, Some(left))
            .await;
        let read = match sent {
            Ok(response) => {
                let (status, told) = (response.status_code(), Handled::by(response.headers()));
                response.bytes().await.map(|body| (status, told, body))
            }
            Err(error) => Err(error),
        };
        let (status, handled, body) = read.map_err(|error| {
            let failure = Failure::exchange(node.name(), error);
            node.was_silent();
            failure
        })?;
        node.answered();
        if status.is_success() {
            Ok(Answer {
                body,
                status,
                handled,
            })
        } else {
            Err(Failure::answer(status, &body))
        }
    }

    /// The next node in turn that is worth a call, another than `last` if there is one; `None` when all are down.
    fn pick(&self, last: Option<usize>) -> Option<usize> {
        let count = self.nodes.len();
        let start = if count == 1 {
            0
        } else {
            self.turn.fetch_add(1, Ordering::Relaxed)
        };
        let mut order = (0..count).map(|step| start.wrapping_add(step) % count);
        order.find(|node| Some(*node) != last && self.nodes[*node].admits())
    }
}

impl Sent {
    /// Tells the span of the call all but the failure itself. `resent` may count the tries of earlier messages of the call.
    pub(super) fn describe(&self, call: &Call, resent: u32) {
        if resent > 0 {
            call.span
                .set(attr::HTTP_REQUEST_RESEND_COUNT, i64::from(resent));
        }
        match &self.result {
            Ok(answer) => {
                call.span.answered(answer.status.as_u16());
                // Elastic Cloud says which cluster and node it was; others do not.
                answer
                    .handled
                    .cluster
                    .iter()
                    .for_each(|name| call.span.set(attr::DB_NAMESPACE, name.clone()));
                answer
                    .handled
                    .node
                    .iter()
                    .for_each(|name| call.span.set(attr::ELASTICSEARCH_NODE_NAME, name.clone()));
            }
            Err(failure) => failure
                .status()
                .iter()
                .for_each(|status| call.span.answered(status.as_u16())),
        }
    }
}

impl From<Failure> for Sent {
    fn from(failure: Failure) -> Self {
        Self {
            result: Err(failure),
            resent: 0,
        }
    }
}

impl Handled {
    fn by(headers: &HeaderMap) -> Self {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
                .map(str::to_owned)
        };
        Self {
            cluster: text("x-found-handling-cluster"),
            node: text("x-found-handling-instance"),
        }
    }
}

/// Waits a random time before another try (full jitter: gateways that failed together shall not come back together). False
/// when the deadline comes first.
pub(super) async fn backoff(tries: u32, deadline: Instant) -> bool {
    let most = FIRST_WAIT * 2_u32.pow(tries.min(10));
    let wait = most.mul_f64(rand::random_range(0.0..1.0));
    let in_time = Instant::now() + wait < deadline;
    if in_time {
        tokio::time::sleep(wait).await;
    }
    in_time
}

/// The headers of a message: what the body is, and for a request the trace, in two languages.
fn headers(context: Option<&Context>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(6);
    if let Some(context) = context {
        telemetry::client::inject(context, &mut headers);
        // `X-Opaque-Id` is what slow logs and the list of tasks show; the trace id leads from there to the trace.
        let trace = headers
            .get(TRACEPARENT)
            .and_then(|value| value.as_bytes().get(3..35));
        if let Some(trace) = trace.and_then(|trace| HeaderValue::from_bytes(trace).ok()) {
            headers.insert(OPAQUE_ID, trace);
        }
    }
    // The answers are small and the way is short: unpacking them would cost more than it saves.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}
