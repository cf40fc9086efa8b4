//! What every package's tests over real processes share: a process, a collector for its telemetry,
//! an HTTP client and waits with a deadline.
//!
//! For development only: no package depends on it outside its tests.

#![expect(
    clippy::missing_panics_doc,
    reason = "a helper of a test panics where the test fails"
)]

mod bert;
mod client;
mod collector;
mod explorer_api;
mod process;
mod receiver;
mod tls;
mod tree;
mod wait;

pub use bert::BertFolder;
pub use client::{Answer, connect, open, send, send_async};
pub use collector::{Collector, TracedSpan};
pub use explorer_api::ExplorerApi;
pub use process::{Exit, Process, command, signal};
pub use receiver::{Post, Receiver};
pub use tls::{Authority, Identity, TlsClient};
pub use tree::tree;
pub use wait::{DEADLINE, eventually, wait_until, wait_until_async};

pub use explorer::trace::{SpanData, SpanKind, SpanStatus, Trace};
pub use explorer::{LogEntry, MetricSeries};
