//! Instruments: thin constructors that name the meter once and require a unit and a description.

pub(crate) use opentelemetry::metrics::BoundUpDownCounter;
pub use opentelemetry::metrics::{
    BoundCounter, BoundHistogram, Counter, Gauge, Histogram, UpDownCounter,
};

use opentelemetry::{global, metrics::Meter};

/// The instrumentation scope of everything that Throughline emits, spans and metrics.
pub(crate) const SCOPE: &str = "throughline";

/// Bucket boundaries in seconds that the semantic conventions fix for HTTP durations.
pub const HTTP_SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// Bucket boundaries in seconds that the semantic conventions fix for database calls.
pub const DB_SECONDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
/// Bucket boundaries in seconds for work below a millisecond, such as the forward pass of a small
/// model.
pub const COMPUTE_SECONDS: [f64; 15] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05,
    0.1, 0.5, 1.0, 5.0,
];

/// A counter that only goes up; `unit` is a UCUM unit such as `{call}`.
pub fn counter(name: &'static str, unit: &'static str, description: &'static str) -> Counter<u64> {
    meter()
        .u64_counter(name)
        .with_unit(unit)
        .with_description(description)
        .build()
}

/// A sum that goes up and down.
pub fn up_down_counter(
    name: &'static str,
    unit: &'static str,
    description: &'static str,
) -> UpDownCounter<i64> {
    meter()
        .i64_up_down_counter(name)
        .with_unit(unit)
        .with_description(description)
        .build()
}

/// A histogram with explicit bucket boundaries in `unit` (the SDK's own list is meant for
/// milliseconds).
pub fn histogram(
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    boundaries: impl Into<Vec<f64>>,
) -> Histogram<f64> {
    meter()
        .f64_histogram(name)
        .with_unit(unit)
        .with_description(description)
        .with_boundaries(boundaries.into())
        .build()
}

/// The last measured value of something.
pub fn gauge(name: &'static str, unit: &'static str, description: &'static str) -> Gauge<f64> {
    meter()
        .f64_gauge(name)
        .with_unit(unit)
        .with_description(description)
        .build()
}

pub(crate) fn meter() -> Meter {
    global::meter(SCOPE)
}
