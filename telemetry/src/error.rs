//! Why telemetry cannot be set up, and errors with their causes on one line.

use std::error::Error as StdError;
use std::iter;

use crate::export::TransportError;

/// Telemetry could not be set up. The process must report it and stop rather than run without telemetry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client of the OTLP exporters.
    #[error("cannot set up the OTLP transport")]
    Transport(#[from] TransportError),
    /// An exporter refuses its settings.
    #[error("cannot set up the OTLP exporter")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Telemetry was set up twice in one process.
    #[error("telemetry is already set up in this process")]
    Twice,
    /// `RUST_LOG` or `OTEL_LOG_LEVEL` cannot be read.
    #[error("RUST_LOG or OTEL_LOG_LEVEL holds no log filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
}

/// An error with its causes on one line, for log records and for the last message of a process.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    text
}

/// The causes of an error, the nearest first.
pub(crate) fn causes(error: &dyn StdError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    iter::successors(error.source(), |cause| (*cause).source())
}
