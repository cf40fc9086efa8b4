//! `Server-Timing`: how long the parts of an answer took, in fractional milliseconds.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// The `http` crate has no constant for this header.
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The times that the model service reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct UpstreamTiming {
    /// Milliseconds of the feature lookup.
    pub(crate) features: Option<f64>,
    /// Milliseconds in the queue of the model.
    pub(crate) queue: Option<f64>,
    /// Milliseconds of computation.
    pub(crate) compute: Option<f64>,
}

impl UpstreamTiming {
    /// The longer of each part: a client waits for the longest of the calls that run at the same
    /// time.
    pub(crate) fn longer(self, other: Self) -> Self {
        let longer = |one: Option<f64>, two: Option<f64>| match (one, two) {
            (Some(one), Some(two)) => Some(one.max(two)),
            (one, two) => one.or(two),
        };
        Self {
            features: longer(self.features, other.features),
            queue: longer(self.queue, other.queue),
            compute: longer(self.compute, other.compute),
        }
    }
}

/// How long an answer took, as seen by the gateway.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timing {
    /// Calls of the prediction store.
    pub(crate) store: Duration,
    /// The inference call, or the wait for another request's.
    pub(crate) model: Option<Duration>,
    /// The parts of the inference call.
    pub(crate) upstream: UpstreamTiming,
}

impl Timing {
    /// The header's value.
    pub(crate) fn header(&self) -> String {
        let millis = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        let mut value = String::with_capacity(96);
        let _ = write!(value, "store;dur={:.3}", millis(self.store));
        let parts = [
            ("model", self.model.map(millis)),
            ("features", self.upstream.features),
            ("queue", self.upstream.queue),
            ("compute", self.upstream.compute),
        ];
        for (name, millis) in parts {
            if let Some(millis) = millis {
                let _ = write!(value, ", {name};dur={millis:.3}");
            }
        }
        value
    }
}

/// Reads the header of a model service; other metrics in it are ignored.
pub(crate) fn upstream(headers: &HeaderMap) -> UpstreamTiming {
    let mut timing = UpstreamTiming::default();
    let values = headers
        .get_all(SERVER_TIMING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for metric in values.flat_map(|value| value.split(',')) {
        let mut parts = metric.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let duration = parts
            .find_map(|part| {
                // The name of a parameter has no case (W3C Server Timing, 3.2).
                let (name, value) = part.split_once('=')?;
                let is_duration = name.trim().eq_ignore_ascii_case("dur");
                is_duration.then(|| value.trim().parse::<f64>().ok())?
            })
            .filter(|dur| dur.is_finite() && *dur >= 0.0);
        match name {
            "features" => timing.features = duration,
            "queue" => timing.queue = duration,
            "compute" => timing.compute = duration,
            _ => {}
        }
    }
    timing
}
