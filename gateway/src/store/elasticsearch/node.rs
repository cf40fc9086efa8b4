//! One node: the client library's transport to it, and a pause after failures.
//!
//! The library pools the connections to a node but neither retries nor passes over a node that is
//! down (<https://github.com/elastic/elasticsearch-rs/issues/37>), so each node has a transport of
//! its own.

use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use elasticsearch::cert::CertificateValidation;
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use parking_lot::Mutex;
use url::Url;

use super::SetupError;
use super::settings::ClusterSettings;

/// After so many failures in a row the node is paused, or a frozen node would cost every request
/// the whole time limit. A single failure may only be a connection that was idle for too long.
const FAILURES: u32 = 3;
/// The first pause; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A node that recovers is in use again after this time at the latest.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A node and its connections.
pub(super) struct Node {
    pub(super) transport: Transport,
    /// The address, without credentials.
    pub(super) url: Url,
    failures: AtomicU32,
    pause: Mutex<Pause>,
}

/// Leaves the transport out: its `Debug` shows the credentials (seen with 9.1.0-alpha.1; no
/// upstream issue).
impl Debug for Node {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Node")
            .field("name", &self.name())
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

/// How long a node that is down is not called.
#[derive(Debug)]
struct Pause {
    until: Instant,
    next: Duration,
}

impl Pause {
    fn starting(now: Instant, length: Duration) -> Self {
        Self {
            until: now + length,
            next: (length * 2).min(LONGEST_PAUSE),
        }
    }
}

impl Node {
    pub(super) fn new(url: Url, settings: &ClusterSettings) -> Result<Self, SetupError> {
        // Without redirects, proxies and sniffing, calls go nowhere but to the configured address.
        let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(url.clone()))
            .disable_proxy()
            .enable_meta_header(false);
        if let Some(credentials) = &settings.credentials {
            builder = builder.auth(credentials.clone());
        }
        if let Some(certificate) = settings.certificate()? {
            builder = builder.cert_validation(CertificateValidation::Full(certificate));
        }
        let transport = builder
            .build()
            .map_err(|error| SetupError::Client(error.into()))?;
        Ok(Self {
            transport,
            url,
            failures: AtomicU32::new(0),
            pause: Mutex::new(Pause::starting(Instant::now(), Duration::ZERO)),
        })
    }

    /// Whether to call this node. While it is down, one caller after each pause tries it.
    pub(super) fn admits(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) < FAILURES {
            return true;
        }
        let (mut pause, now) = (self.pause.lock(), Instant::now());
        let over = pause.until <= now;
        if over {
            *pause = Pause::starting(now, pause.next);
        }
        over
    }

    /// Records an answer of the node, whatever its status.
    pub(super) fn record_answer(&self) {
        // The plain load comes first, so that requests do not all write to one cache line.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Records that the node did not answer. Calls that fail together start only one pause.
    pub(super) fn record_silence(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) == FAILURES - 1 {
            *self.pause.lock() = Pause::starting(Instant::now(), FIRST_PAUSE);
        }
    }

    /// Host and port.
    pub(super) fn name(&self) -> &str {
        &self.url[url::Position::BeforeHost..url::Position::AfterPort]
    }
}
