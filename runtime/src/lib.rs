//! How every part of Throughline is a process: it binds, admits, serves, drains, flushes its
//! telemetry and exits.
//!
//! The services hand over a router. Why this is a package of its own:
//! docs/adr/0003-runtime-package.md.

mod health;
mod limits;
mod options;
mod outage;
mod process;
mod secret;
mod serve;
mod shutdown;

pub use health::Health;
pub use limits::{Deadline, Limit, LimitLayer, Refusal, limit_layer};
pub use options::{ProcessOptions, duration};
pub use outage::Outage;
pub use process::{BindError, PartInfo, bind, run};
pub use secret::Secret;
pub use serve::{ServeError, serve};
pub use shutdown::{Shutdown, Trigger};
pub use telemetry::chain;

#[cfg(test)]
mod tests;
