//! One HTTP exchange with a node, and what the span of its call records about it.

use bytes::Bytes;
use elasticsearch::http::headers::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use elasticsearch::http::{Method, StatusCode};
use telemetry::db::DbSpan;
use telemetry::{Context, attr};
use tokio::time::Instant;

use super::error::CallError;
use super::node::Node;

const OPAQUE_ID: HeaderName = HeaderName::from_static("x-opaque-id");
const TRACEPARENT: &str = "traceparent";

/// An HTTP request.
#[derive(Clone, Debug)]
pub(super) struct Message<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

/// A message and the answer to it, after all retries.
#[derive(Debug)]
pub(super) struct HttpExchange {
    /// The body of a successful answer.
    pub(super) result: Result<Bytes, CallError>,
    pub(super) facts: ExchangeFacts,
}

/// What the span of a call records about the exchange.
#[derive(Clone, Debug, Default)]
pub(super) struct ExchangeFacts {
    status: Option<StatusCode>,
    pub(super) retries: u32,
    /// Elastic Cloud names the cluster and the node that answered; others do not.
    cluster: Option<String>,
    node: Option<String>,
}

impl Node {
    /// Sends a message and records on the node whether it answered.
    pub(super) async fn exchange(&self, message: Message<'_>, deadline: Instant) -> HttpExchange {
        let Message {
            method,
            path,
            headers,
            body,
        } = message;
        let left = deadline.saturating_duration_since(Instant::now());
        let sent = self
            .transport
            .send(method, path, headers, None::<&()>, body, Some(left));
        let received = async {
            let response = sent.await?;
            let (status, headers) = (response.status_code(), response.headers());
            let facts = ExchangeFacts::new(status, headers);
            Ok((status, facts, response.bytes().await?))
        };
        match received.await {
            Ok((status, facts, body)) => {
                self.record_answer();
                if status.is_success() {
                    HttpExchange {
                        result: Ok(body),
                        facts,
                    }
                } else {
                    CallError::answer(status, &body).into()
                }
            }
            Err(error) => {
                self.record_silence();
                CallError::transport(self.name(), error).into()
            }
        }
    }
}

impl ExchangeFacts {
    fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Self {
            status: Some(status),
            retries: 0,
            cluster: text("x-found-handling-cluster"),
            node: text("x-found-handling-instance"),
        }
    }

    pub(super) fn record_on(self, span: &DbSpan) {
        if self.retries > 0 {
            span.set(attr::HTTP_REQUEST_RESEND_COUNT, i64::from(self.retries));
        }
        if let Some(status) = self.status {
            span.answered(status.as_u16());
        }
        if let Some(cluster) = self.cluster {
            span.set(attr::DB_NAMESPACE, cluster);
        }
        if let Some(node) = self.node {
            span.set(attr::ELASTICSEARCH_NODE_NAME, node);
        }
    }
}

impl From<CallError> for HttpExchange {
    fn from(error: CallError) -> Self {
        let facts = ExchangeFacts {
            status: error.status(),
            ..ExchangeFacts::default()
        };
        Self {
            result: Err(error),
            facts,
        }
    }
}

/// The headers of a message; a call of a request carries its trace context.
pub(super) fn headers(context: Option<&Context>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(6);
    if let Some(context) = context {
        telemetry::client::inject(context, &mut headers);
        // Slow logs and the task list show `X-Opaque-Id`; the trace id leads from there to the
        // trace.
        let trace = headers
            .get(TRACEPARENT)
            .and_then(|value| value.as_bytes().get(3..35));
        if let Some(trace) = trace.and_then(|trace| HeaderValue::from_bytes(trace).ok()) {
            headers.insert(OPAQUE_ID, trace);
        }
    }
    // Answers are small and the network is near: decompressing them would cost more than it saves.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}
