//! One node: the client library's transport to it, and whether it is worth a call just now.

use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use elasticsearch::cert::CertificateValidation;
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use url::Url;

use super::SetupError;
use super::settings::Settings;

/// So many failures in a row, without an answer in between, and the node is left alone for a while: a frozen node would else
/// cost every request the whole time of a call. One failure alone may be a connection that grew old.
const FAILURES: u32 = 3;
/// The first pause; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(250);
/// After an outage the node is in use again no later than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A node and its connections.
pub(super) struct Node {
    pub(super) transport: Transport,
    /// The address, without credentials.
    pub(super) url: Url,
    failures: AtomicU32,
    rest: Mutex<Rest>,
}

/// The library shows the credentials of a transport, so this shows none of it.
impl Debug for Node {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Node")
            .field("name", &self.name())
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

/// How long a node that is down is left alone.
#[derive(Debug)]
struct Rest {
    until: Instant,
    next: Duration,
}

impl Node {
    pub(super) fn new(url: Url, settings: &Settings) -> Result<Self, SetupError> {
        // Redirects, proxies and sniffing would each lead to a place that nobody has named.
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
        let rest = Rest {
            until: Instant::now(),
            next: PAUSE,
        };
        Ok(Self {
            transport,
            url,
            failures: AtomicU32::new(0),
            rest: Mutex::new(rest),
        })
    }

    /// Whether to call this node. Of a node that is down one caller now and then learns whether it is back.
    pub(super) fn admits(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) < FAILURES {
            return true;
        }
        let (mut rest, now) = (self.rest(), Instant::now());
        let over = rest.until <= now;
        if over {
            *rest = Rest {
                until: now + rest.next,
                next: (rest.next * 2).min(LONGEST_PAUSE),
            };
        }
        over
    }

    /// The node answered, whatever it said.
    pub(super) fn answered(&self) {
        // A plain load first: in the usual case no request writes to the shared cache line.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// The node did not answer. Those who were under way together fail together, so only one of them begins the rest.
    pub(super) fn was_silent(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) == FAILURES - 1 {
            *self.rest() = Rest {
                until: Instant::now() + PAUSE,
                next: PAUSE * 2,
            };
        }
    }

    /// Host and port, for an error.
    pub(super) fn name(&self) -> &str {
        &self.url[url::Position::BeforeHost..url::Position::AfterPort]
    }

    fn rest(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
