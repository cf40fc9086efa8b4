//! How telemetry leaves the process: the export of span batches, the transport of all three
//! signals, and the counts of what was lost on the way.

mod counts;
mod normalize;
mod protobuf;
mod retry;
mod span_batch;
mod transport;
mod wire;

pub(crate) use counts::{CountingLogExporter, CountingProcessor, ExportCounts};
pub(crate) use normalize::Normalizing;
pub(crate) use span_batch::SpanBatchExporter;
pub(crate) use transport::Transport;
pub(crate) use transport::TransportError;

#[cfg(test)]
mod tests;
