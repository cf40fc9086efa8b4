//! How every part of Throughline is a process: it binds, admits, serves, drains, flushes its telemetry and exits.
//!
//! The services hand over a router; what they share of a process's life stands here once. Why this is a package of its
//! own: docs/adr/0003-runtime-package.md.

mod health;
mod limits;
mod outage;
mod process;
mod secret;
mod serve;
mod shutdown;

pub use health::Health;
pub use limits::{Deadline, Limit, LimitLayer, Refusal, limit_layer};
pub use outage::Outage;
pub use process::{BindError, Part, ProcessOptions, bind, chain, duration, run};
pub use secret::Secret;
pub use serve::{ServeError, serve};
pub use shutdown::{Shutdown, Trigger};

#[cfg(test)]
mod tests;
