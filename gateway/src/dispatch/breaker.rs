//! Circuit breakers: a variant that times out or cannot be reached several times in a row is not
//! waited for.
//!
//! A closed breaker lets every call through. After [`FAILURES`] outages in a row it opens and
//! refuses calls at once; after [`PAUSE`] it lets one probe through, whose result closes it or opens
//! it again.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::ErrorCode;
use runtime::Health;
use telemetry::metrics::{Gauge, gauge};
use telemetry::{KeyValue, attr};

use crate::model_client::CallError;
use crate::traffic::Variant;

/// Outages in a row that open a breaker.
const FAILURES: u32 = 5;
/// How long an open breaker refuses before it lets a probe through.
const PAUSE: Duration = Duration::from_secs(1);
/// Variants whose state is kept; the routes file may name others over time.
const MAX_KEPT: usize = 1_000;

static OPEN: LazyLock<Gauge<f64>> = LazyLock::new(|| {
    gauge(
        attr::metric::ML_VARIANT_BREAKER_OPEN,
        "1",
        "1 while calls of a variant are refused, because it timed out repeatedly",
    )
});

/// The breakers of all variants; cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breakers {
    health: Option<Health>,
    /// Only variants whose last call was an outage.
    failing: Arc<Mutex<Vec<Failing>>>,
}

/// Whether a variant is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerState {
    Closed,
    Open,
    /// One call finds out whether the variant answers again.
    HalfOpen,
}

#[derive(Debug)]
struct Failing {
    variant: Variant,
    outages: u32,
    error: ErrorCode,
    /// When the breaker opened; `None` while it is closed.
    opened: Option<Instant>,
    probing: bool,
}

/// The permission for one call. Dropped without [`Admitted::record`], the call says nothing.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    breakers: &'a Breakers,
    variant: &'a Variant,
    is_probe: bool,
}

impl Breakers {
    pub(crate) fn new(health: Health) -> Self {
        Self {
            health: Some(health),
            failing: Arc::default(),
        }
    }

    pub(crate) fn state(&self, variant: &Variant) -> BreakerState {
        let failing = self.failing.lock();
        let known = failing.iter().find(|known| known.variant.is_at(variant));
        known.map_or(BreakerState::Closed, Failing::state)
    }

    /// Admits a call; `None` while the variant is not waited for.
    pub(super) fn admit<'a>(&'a self, variant: &'a Variant) -> Option<Admitted<'a>> {
        let mut failing = self.failing.lock();
        let known = failing
            .iter_mut()
            .find(|known| known.variant.is_at(variant));
        let is_probe = match known {
            Some(Failing {
                opened: Some(opened),
                probing,
                ..
            }) => {
                if *probing || opened.elapsed() < PAUSE {
                    return None;
                }
                *probing = true;
                true
            }
            _ => false,
        };
        Some(Admitted {
            breakers: self,
            variant,
            is_probe,
        })
    }

    fn outage(&self, variant: &Variant, error: ErrorCode, is_probe: bool) {
        let mut failing = self.failing.lock();
        let at = failing
            .iter()
            .position(|known| known.variant.is_at(variant));
        let at = at.unwrap_or_else(|| {
            if failing.len() >= MAX_KEPT {
                failing.remove(0);
            }
            failing.push(Failing {
                variant: variant.clone(),
                outages: 0,
                error,
                opened: None,
                probing: false,
            });
            failing.len() - 1
        });
        let known = &mut failing[at];
        known.outages = known.outages.saturating_add(1);
        known.error = error;
        if is_probe {
            known.probing = false;
            known.opened = Some(Instant::now());
        } else if known.opened.is_none() && known.outages >= FAILURES {
            known.opened = Some(Instant::now());
            self.report(&failing);
            record_state(variant, true);
            let (name, code) = (&*variant.name, error.as_str());
            tracing::warn!(
                name: "variant.breaker_opened",
                { "ml.variant" = name, "error.type" = code },
                "variant {name} is not waited for: {FAILURES} calls in a row failed ({code})"
            );
        }
    }

    fn success(&self, variant: &Variant) {
        let mut failing = self.failing.lock();
        let at = failing
            .iter()
            .position(|known| known.variant.is_at(variant));
        let Some(at) = at else { return };
        if failing.remove(at).opened.is_some() {
            self.report(&failing);
            record_state(variant, false);
            let name = &*variant.name;
            tracing::info!(
                name: "variant.breaker_closed",
                { "ml.variant" = name },
                "variant {name} answers again and is waited for"
            );
        }
    }

    /// Writes the detail of `/readyz`.
    fn report(&self, failing: &[Failing]) {
        let Some(health) = &self.health else { return };
        let open = failing.iter().filter(|known| known.opened.is_some());
        let open: Vec<String> = open
            .map(|known| format!("{} is not waited for ({})", known.variant.name, known.error))
            .collect();
        health.detail(
            "variant_breakers",
            (!open.is_empty()).then(|| open.join(", ")),
        );
    }
}

impl Admitted<'_> {
    /// Records the end of the call. Any answer, also one that is an error, shows that the variant
    /// is worth waiting for.
    pub(super) fn record(mut self, error: Option<&CallError>) {
        let is_probe = std::mem::take(&mut self.is_probe);
        match error {
            Some(error @ (CallError::TimedOut(Some(_)) | CallError::Unreachable(_))) => {
                self.breakers.outage(self.variant, error.code(), is_probe);
            }
            // No request was sent.
            Some(CallError::TimedOut(None) | CallError::Request(_) | CallError::Address(_)) => {
                self.is_probe = is_probe;
            }
            _ => self.breakers.success(self.variant),
        }
    }
}

impl Drop for Admitted<'_> {
    /// A probe that was given up leaves its place to another one.
    fn drop(&mut self) {
        if self.is_probe {
            let mut failing = self.breakers.failing.lock();
            let known = failing
                .iter_mut()
                .find(|known| known.variant.is_at(self.variant));
            if let Some(known) = known {
                known.probing = false;
            }
        }
    }
}

impl Failing {
    fn state(&self) -> BreakerState {
        match self.opened {
            None => BreakerState::Closed,
            Some(_) if self.probing => BreakerState::HalfOpen,
            Some(_) => BreakerState::Open,
        }
    }
}

impl BreakerState {
    /// The value of `ml.variant.breaker`; a closed breaker is not recorded.
    pub(crate) fn as_attribute(self) -> Option<&'static str> {
        match self {
            Self::Closed => None,
            Self::Open => Some("open"),
            Self::HalfOpen => Some("half_open"),
        }
    }
}

fn record_state(variant: &Variant, open: bool) {
    let labels = [KeyValue::new(attr::ML_VARIANT, Arc::clone(&variant.name))];
    OPEN.record(f64::from(u8::from(open)), &labels);
}
