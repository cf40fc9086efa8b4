//! Notices by HTTP: one JSON POST for each rule that fires or is resolved, signed as the Standard
//! Webhooks specification 1.0.0 says, with retries, through a bounded queue.
//!
//! A notice that cannot be delivered is counted and logged, and changes nothing else.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderValue, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use runtime::Shutdown;
use serde_json::json;
use sha2::Sha256;
use telemetry::client::HttpClient;
use tokio::sync::mpsc;

use super::engine::{Change, Engine};
use super::file::{Address, WebhookFile};
use super::report::{State, WebhookReport};
use super::{RulesError, label};

/// Notices that wait. A receiver that is down for longer loses the newest ones.
const QUEUE: usize = 64;
/// Attempts of one notice.
const ATTEMPTS: u32 = 5;
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Bytes of a secret, as the specification has it.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=512;

/// The end of the queue that takes notices.
pub(crate) struct Webhook {
    queue: mpsc::Sender<Notice>,
    to: String,
    signed: bool,
    counts: Arc<Counts>,
}

/// The end of the queue that sends them.
pub(crate) struct Delivery {
    queue: mpsc::Receiver<Notice>,
    address: Address,
    key: Option<Key>,
    timeout: Duration,
    first_retry: Duration,
    client: HttpClient,
    counts: Arc<Counts>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// The same for every attempt, so that the receiver can tell a repetition.
    pub id: String,
    pub body: Bytes,
}

#[derive(Default)]
struct Counts {
    delivered: AtomicU64,
    failed_attempts: AtomicU64,
    given_up: AtomicU64,
    dropped: AtomicU64,
}

/// The bytes of the secret, which are never shown.
pub(super) struct Key(Vec<u8>);

/// How one attempt ended.
enum Attempt {
    Delivered,
    /// Another one may succeed.
    Failed(String),
    /// Another one would end the same way.
    Refused(String),
}

impl Webhook {
    pub(crate) fn new(file: &WebhookFile) -> Result<(Webhook, Delivery), RulesError> {
        let key = file.secret_file.as_deref().map(Key::read).transpose()?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let counts = Arc::<Counts>::default();
        let webhook = Webhook {
            queue: sender,
            to: format!("{:?}", file.url),
            signed: key.is_some(),
            counts: Arc::clone(&counts),
        };
        let delivery = Delivery {
            queue: receiver,
            address: file.url.clone(),
            key,
            timeout: file.timeout,
            first_retry: file.first_retry,
            client: HttpClient::new()?.without_context(),
            counts,
        };
        Ok((webhook, delivery))
    }

    /// Queues the notice of a change, if there is a place.
    pub(crate) fn tell(&self, engine: &Engine, change: &Change) {
        if self.queue.try_send(notice(engine, change)).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                name: "explorer.webhook_failed",
                "a notice for {} is dropped, because {QUEUE} wait", self.to
            );
        }
    }

    pub(crate) fn report(&self) -> WebhookReport {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WebhookReport {
            to: self.to.clone(),
            signed: self.signed,
            delivered: count(&self.counts.delivered),
            failed_attempts: count(&self.counts.failed_attempts),
            given_up: count(&self.counts.given_up),
            dropped: count(&self.counts.dropped),
        }
    }
}

impl Delivery {
    /// Sends one notice after the other until `shutdown`. What is not delivered by then is lost.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                notice = self.queue.recv() => match notice {
                    Some(notice) => tokio::select! {
                        () = self.deliver(&notice) => {}
                        () = shutdown.wait() => return,
                    },
                    None => return,
                },
                () = shutdown.wait() => return,
            }
        }
    }

    async fn deliver(&self, notice: &Notice) {
        let mut pause = self.first_retry;
        for attempt in 1..=ATTEMPTS {
            let (problem, last) = match self.attempt(notice).await {
                Attempt::Delivered => {
                    self.counts.delivered.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Attempt::Failed(problem) => (problem, attempt == ATTEMPTS),
                Attempt::Refused(problem) => (problem, true),
            };
            self.counts.failed_attempts.fetch_add(1, Ordering::Relaxed);
            if last {
                self.counts.given_up.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    name: "explorer.webhook_failed",
                    "a notice for {:?} is given up after {attempt} attempts: {problem}", self.address
                );
                return;
            }
            tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
            pause *= 2;
        }
    }

    async fn attempt(&self, notice: &Notice) -> Attempt {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since.unwrap_or_default().as_secs();
        let request = match self.request(notice, seconds) {
            Ok(request) => request,
            Err(error) => return Attempt::Refused(error.to_string()),
        };
        match self.client.send(request, self.timeout).await {
            Ok(answer) if answer.status().is_success() => Attempt::Delivered,
            Ok(answer) if may_succeed_later(answer.status()) => {
                Attempt::Failed(format!("it answers {}", answer.status()))
            }
            Ok(answer) => Attempt::Refused(format!("it answers {}", answer.status())),
            Err(error) => Attempt::Failed(runtime::chain(&error)),
        }
    }

    /// The timestamp is that of the attempt and is signed, so that nobody can repeat it later.
    fn request(&self, notice: &Notice, seconds: u64) -> Result<Request<Bytes>, axum::http::Error> {
        let mut request = Request::post(self.address.0.as_str())
            .header("content-type", "application/json")
            .header("user-agent", "throughline-explorer")
            .header("webhook-id", &notice.id)
            .header("webhook-timestamp", seconds);
        if let Some(key) = &self.key {
            let mut signature =
                HeaderValue::try_from(key.signature(&notice.id, seconds, &notice.body))?;
            signature.set_sensitive(true);
            request = request.header("webhook-signature", signature);
        }
        request.body(notice.body.clone())
    }
}

/// 408, 425, 429 and all 5xx. A redirect is not followed: the notice was meant for one receiver.
fn may_succeed_later(status: StatusCode) -> bool {
    status.is_server_error() || [408, 425, 429].contains(&status.as_u16())
}

pub(super) fn notice(engine: &Engine, change: &Change) -> Notice {
    let (rule, entry) = (engine.rule(change), engine.entry(change));
    let body = json!({
        "type": format!("rule.{}", change.state.as_str()),
        "timestamp": entry.at,
        "data": {
            "rule": rule.name,
            "summary": rule.summary,
            "severity": rule.severity.as_str(),
            "action": rule.action,
            "window_seconds": rule.window.as_secs_f64(),
            "url": engine.page(),
            "change": entry,
        },
    });
    Notice {
        id: change.id(),
        body: body.to_string().into(),
    }
}

impl Key {
    /// The secret in a file: `whsec_` and base64, or any text.
    fn read(path: &Path) -> Result<Key, RulesError> {
        let text = std::fs::read_to_string(path).map_err(|source| RulesError::Read {
            path: path.to_owned(),
            source,
        })?;
        let key = Key::of(&text);
        if SECRET_BYTES.contains(&key.0.len()) {
            Ok(key)
        } else {
            Err(RulesError::Secret {
                path: path.to_owned(),
                bytes: key.0.len(),
            })
        }
    }

    pub(super) fn of(text: &str) -> Key {
        let text = text.trim();
        let decoded = text
            .strip_prefix("whsec_")
            .and_then(|encoded| STANDARD.decode(encoded).ok());
        Key(decoded.unwrap_or_else(|| text.as_bytes().to_vec()))
    }

    /// `v1,` and the base64 of the code of id, timestamp and body, joined by full stops.
    pub(super) fn signature(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let head = format!("{id}.{seconds}.");
        format!(
            "v1,{}",
            STANDARD.encode(self.code(&[head.as_bytes(), body]))
        )
    }

    /// HMAC-SHA256 of the parts one after the other.
    pub(super) fn code(&self, parts: &[&[u8]]) -> Vec<u8> {
        // A key of any length will do (RFC 2104, section 2).
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return Vec::new();
        };
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().to_vec()
    }
}

/// Says in the log what changed.
pub(crate) fn log(engine: &Engine, change: &Change) {
    let rule = engine.rule(change);
    let summary = label::text(&rule.summary);
    match change.state {
        State::Firing => tracing::warn!(
            name: "explorer.rule_firing",
            "rule {} fires: {summary}", rule.name
        ),
        State::Resolved => tracing::info!(
            name: "explorer.rule_resolved",
            "rule {} is resolved: {summary}", rule.name
        ),
        State::Inactive | State::Pending => {}
    }
}
