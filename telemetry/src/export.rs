//! How telemetry leaves the process: the queues, the exporters of the three signals, their
//! transport, and the counts of what was lost on the way.

mod counts;
mod limits;
mod log_batch;
mod metric_batch;
mod normalize;
mod protobuf;
mod queue;
mod retry;
mod sender;
mod span_batch;
mod transport;
mod wire;

pub(crate) use counts::ExportCounts;
pub(crate) use limits::Shortening;
pub(crate) use log_batch::LogBatchExporter;
pub(crate) use metric_batch::MetricBatchExporter;
pub(crate) use normalize::Normalizing;
pub(crate) use queue::{QueueLimit, Queued};
pub(crate) use span_batch::SpanBatchExporter;

#[cfg(test)]
mod tests;
