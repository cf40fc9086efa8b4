//! Calls of a cluster: their spans, the choice of a node, and retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::http::Method;
use telemetry::db::{self, DbSpan};
use telemetry::span::LinkTarget;
use telemetry::{Context, KeyValue, attr};
use tokio::time::Instant;

use super::SetupError;
use super::error::CallError;
use super::exchange::{HttpExchange, Message, headers};
use super::node::Node;
use super::settings::ClusterSettings;
use crate::store::StoreError;

/// The longest wait before the first retry; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The nodes of one cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    nodes: Vec<Node>,
    turn: AtomicUsize,
    /// For one call with its retries.
    pub(super) timeout: Duration,
    retries: u32,
}

/// An operation with everything that is the same for each of its calls.
#[derive(Debug)]
pub(super) struct Endpoint {
    operation: &'static str,
    collection: String,
    path: String,
    /// For each node, the attributes that the span of a call has from its start.
    attributes: Vec<[KeyValue; 4]>,
}

/// A call under way: its span, and the node that it goes to first.
#[derive(Debug)]
pub(super) struct ClientCall {
    pub(super) span: DbSpan,
    node: Option<usize>,
}

/// Where a call comes from: the context that goes with it, and the node that it goes to first.
#[derive(Debug)]
pub(super) struct CallOrigin {
    context: Context,
    node: Option<usize>,
}

impl CallOrigin {
    /// The span of the call, to link to.
    pub(super) fn link_target(&self) -> Option<LinkTarget> {
        LinkTarget::of(&self.context)
    }

    /// Of no span, to the first node.
    #[cfg(test)]
    pub(super) fn test() -> Self {
        Self {
            context: Context::new(),
            node: Some(0),
        }
    }
}

impl ClientCall {
    /// For a call that another task sends.
    pub(super) fn origin(&self) -> CallOrigin {
        CallOrigin {
            context: self.span.context(),
            node: self.node,
        }
    }

    /// The error of a call that cannot be sent, because every node is down.
    pub(super) fn all_down(&self) -> Option<CallError> {
        self.node.is_none().then_some(CallError::AllDown)
    }
}

impl Cluster {
    pub(super) fn new(settings: &ClusterSettings) -> Result<Self, SetupError> {
        let nodes = settings.nodes.iter();
        Ok(Self {
            nodes: nodes
                .map(|url| Node::new(url.clone(), settings))
                .collect::<Result<_, _>>()?,
            turn: AtomicUsize::new(0),
            timeout: settings.timeout,
            retries: settings.retries,
        })
    }

    /// Host and port of each node.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.nodes.iter().map(Node::name).collect();
        names.join(",")
    }

    /// Prepares `POST /{collection}/{action}`. The action may have a query without secrets.
    pub(super) fn endpoint(
        &self,
        operation: &'static str,
        collection: &str,
        action: &str,
    ) -> Endpoint {
        let path = format!("{collection}/{action}");
        Endpoint {
            operation,
            collection: collection.to_owned(),
            attributes: self
                .nodes
                .iter()
                .map(|node| attributes(node, &path))
                .collect(),
            path,
        }
    }

    /// Starts a call below the current span.
    pub(super) fn start(&self, endpoint: &Endpoint) -> ClientCall {
        let node = self.pick(None);
        let attributes = endpoint.attributes.get(node.unwrap_or_default());
        let operation = db::Operation {
            system: "elasticsearch",
            operation: endpoint.operation,
            collection: endpoint.collection.clone(),
            namespace: None,
        };
        ClientCall {
            span: db::start_with(
                operation,
                attributes.map(|some| some.to_vec()).unwrap_or_default(),
            ),
            node,
        }
    }

    /// How many nodes there are, down or not.
    pub(super) fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Sends the message of a call; the caller records the facts on its span.
    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        origin: &CallOrigin,
        body: Bytes,
        deadline: Instant,
    ) -> HttpExchange {
        let message = Message {
            method: Method::Post,
            path: &endpoint.path,
            headers: headers(Some(&origin.context)),
            body: Some(body),
        };
        match origin.node {
            Some(node) => self.exchange(message, node, deadline).await,
            None => CallError::AllDown.into(),
        }
    }

    /// Makes one call, with a span of its own, and parses its answer.
    pub(super) async fn call<T>(
        &self,
        endpoint: &Endpoint,
        body: Bytes,
        deadline: Instant,
        parse: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let call = self.start(endpoint);
        let HttpExchange { result, facts } =
            self.send(endpoint, &call.origin(), body, deadline).await;
        facts.record_on(&call.span);
        let result = result
            .map_err(StoreError::from)
            .and_then(|answer| parse(&answer));
        if let Err(error) = &result {
            call.span.fail(error, error.error_type());
        }
        result
    }

    /// Sends what belongs to no request's trace, such as the creation of the index.
    pub(super) async fn manage(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        deadline: Instant,
    ) -> Result<Bytes, CallError> {
        let message = Message {
            method,
            path,
            headers: headers(None),
            body,
        };
        // It is sent even if every node is down, and so may be the first call after an outage.
        let node = self.pick(None).unwrap_or_default();
        self.exchange(message, node, deadline).await.result
    }

    /// Sends one message, with retries while there is time.
    async fn exchange(
        &self,
        message: Message<'_>,
        mut node: usize,
        deadline: Instant,
    ) -> HttpExchange {
        let mut retries = 0;
        loop {
            let mut exchange = self.nodes[node].exchange(message.clone(), deadline).await;
            exchange.facts.retries = retries;
            let transient = exchange.result.as_ref().is_err_and(CallError::is_transient);
            if !transient || retries >= self.retries || !backoff(retries, deadline).await {
                return exchange;
            }
            retries += 1;
            node = self.pick(Some(node)).unwrap_or(node);
        }
    }

    /// The next node in turn that is not paused, another than `last` if there is one; `None` when
    /// all are down.
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

/// Waits a random time before another try, so that gateways that failed together do not come back
/// together. Returns false if the deadline comes first.
pub(super) async fn backoff(retries: u32, deadline: Instant) -> bool {
    let longest = FIRST_WAIT * 2_u32.pow(retries.min(10));
    let wait = longest.mul_f64(rand::random_range(0.0..1.0));
    let in_time = Instant::now() + wait < deadline;
    if in_time {
        tokio::time::sleep(wait).await;
    }
    in_time
}

fn attributes(node: &Node, path: &str) -> [KeyValue; 4] {
    let url: Arc<str> = format!("{}{path}", node.url).into();
    let host = node.url.host_str().unwrap_or_default();
    let host: Arc<str> = host.trim_matches(['[', ']']).into();
    let port = node.url.port_or_known_default().unwrap_or_default();
    [
        KeyValue::new(attr::HTTP_REQUEST_METHOD, "POST"),
        KeyValue::new(attr::URL_FULL, url),
        KeyValue::new(attr::SERVER_ADDRESS, host),
        KeyValue::new(attr::SERVER_PORT, i64::from(port)),
    ]
}
