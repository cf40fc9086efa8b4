//! Why telemetry cannot be set up.

/// Telemetry could not be set up. The process must report it and stop rather than run without
/// telemetry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Telemetry was set up twice in one process.
    #[error("telemetry is already set up in this process")]
    Twice,
    /// `RUST_LOG` or `OTEL_LOG_LEVEL` cannot be read.
    #[error("RUST_LOG or OTEL_LOG_LEVEL holds no log filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
}
