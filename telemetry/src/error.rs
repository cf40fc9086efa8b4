//! Why telemetry cannot be set up.

use crate::export::TransportError;

/// Telemetry could not be set up. The process must report it and stop rather than run without
/// telemetry.
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
