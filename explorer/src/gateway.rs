//! The gateway, as the page "Try it" and a replay call it: a request is sent beside the page, in a
//! trace whose id is known before, so that the page can watch the trace arrive.

mod address;
mod answer;
mod arrival;
mod ask;
mod choices;
mod form;
mod rebuild;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use runtime::without_secrets;
use telemetry::SpanRef;
use telemetry::client::HttpClient;

pub use address::GatewayAddress;
pub(crate) use answer::Outcome;
pub(crate) use arrival::{Arrival, arrival};
pub(crate) use ask::{Ask, SERVICES, Subject};
pub(crate) use choices::{Choices, ModelChoice};
pub(crate) use form::Form;
pub(crate) use rebuild::rebuild;

use crate::error::Error;

/// Requests that are remembered, with what was asked; the oldest goes first.
const REMEMBERED: usize = 64;
/// Requests that may be on their way at once.
const MOST_IN_FLIGHT: usize = 8;
/// Longer than the gateway takes for a request by default.
const TIMEOUT: Duration = Duration::from_secs(12);

/// A client of one gateway that remembers what it sent. Cloning shares both.
#[derive(Clone)]
pub(crate) struct Gateway {
    address: GatewayAddress,
    client: HttpClient,
    sent: Arc<Mutex<VecDeque<Sent>>>,
}

/// A request that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) trace_id: String,
    /// The parent of the gateway's span: a span that nobody has, since the explorer makes none.
    pub(crate) caller: String,
    pub(crate) ask: Ask,
    /// The trace that is sent again.
    pub(crate) replay_of: Option<String>,
    /// `None` as long as there is no answer.
    pub(crate) outcome: Option<Outcome>,
    /// When the answer came, or before it the request was sent.
    pub(crate) since: Instant,
}

/// Why a request is not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(
        "{MOST_IN_FLIGHT} requests of this page are on their way; try again when one has been answered"
    )]
    TooMany,
    #[error(transparent)]
    Address(#[from] address::AddressError),
    #[error("the request cannot be written")]
    Request(#[from] axum::http::Error),
}

impl Gateway {
    /// A client of the gateway that the options name.
    pub(crate) fn new(config: &crate::Config) -> Result<Option<Gateway>, Error> {
        let Some(address) = config.gateway.clone() else {
            return Ok(None);
        };
        let client = config.tls_client.client().map_err(Error::GatewayClient)?;
        // The trace context of a request is its own.
        let client = client.without_context();
        let client = match &config.gateway_key_file {
            Some(path) => client.authorized(address::authorization(path)?),
            None => client,
        };
        Ok(Some(Gateway {
            address,
            client,
            sent: Arc::default(),
        }))
    }

    /// Sends a request in a trace of its own and returns the trace's id at once.
    #[expect(
        clippy::disallowed_methods,
        reason = "the explorer emits no traces, so that no context is lost"
    )]
    pub(crate) fn send(&self, ask: Ask, replay_of: Option<String>) -> Result<String, SendError> {
        let base = self.address.url()?;
        let span = new_trace();
        let request = ask.request(&base, &span)?;
        let trace_id = span.trace_id.to_string();
        self.remember(Sent {
            trace_id: trace_id.clone(),
            caller: span.span_id.to_string(),
            ask,
            replay_of,
            outcome: None,
            since: Instant::now(),
        })?;
        let gateway = self.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let result = gateway.client.send(request, TIMEOUT).await;
            let outcome = Outcome::of(result, begun.elapsed(), &without_secrets(&base));
            gateway.answered(&span.trace_id.to_string(), outcome);
        });
        Ok(trace_id)
    }

    /// What was sent in a trace.
    pub(crate) fn sent(&self, trace_id: &str) -> Option<Sent> {
        let sent = self.sent.lock();
        sent.iter().find(|sent| sent.trace_id == trace_id).cloned()
    }

    /// What the gateway offers now.
    pub(crate) async fn choices(&self) -> Result<Choices, String> {
        choices::read(&self.client, &self.address).await
    }

    fn remember(&self, sent: Sent) -> Result<(), SendError> {
        let mut all = self.sent.lock();
        let waiting = all.iter().filter(|sent| sent.outcome.is_none()).count();
        if waiting >= MOST_IN_FLIGHT {
            return Err(SendError::TooMany);
        }
        if all.len() >= REMEMBERED {
            all.pop_front();
        }
        all.push_back(sent);
        Ok(())
    }

    fn answered(&self, trace_id: &str, outcome: Outcome) {
        let mut all = self.sent.lock();
        if let Some(sent) = all.iter_mut().find(|sent| sent.trace_id == trace_id) {
            sent.outcome = Some(outcome);
            sent.since = Instant::now();
        }
    }
}

/// Ids that are not zero (W3C Trace Context, sections 3.2.2.3 and 3.2.2.4).
fn new_trace() -> SpanRef {
    SpanRef {
        trace_id: rand::random_range(1..=u128::MAX).into(),
        span_id: rand::random_range(1..=u64::MAX).into(),
    }
}
