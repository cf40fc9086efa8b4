//! How every part of Throughline is a process: it binds, admits, serves, drains, flushes its
//! telemetry and exits.
//!
//! The services hand over a router. Why this is a package of its own:
//! docs/adr/0003-runtime-package.md.

mod arguments;
mod coding;
mod connections;
mod files;
mod guard;
mod health;
mod healthcheck;
mod held;
mod limits;
mod options;
mod outage;
mod process;
mod receive;
mod refusal;
mod secret;
mod serve;
mod shutdown;
mod tls;
mod watched_files;
mod without_secrets;
mod write_timeout;

pub use arguments::arguments;
pub use guard::AllowedHost;
pub use health::Health;
pub use healthcheck::{HealthcheckOptions, PartCommand, healthcheck};
pub use held::held;
pub use limits::{BodyRules, Deadline, Limit, LimitLayer, limit_layer};
pub use options::{ProcessOptions, duration};
pub use outage::Outage;
pub use process::{BindError, PartInfo, bind, run};
pub use refusal::{Refusal, Refuse, Refused};
pub use secret::Secret;
pub use serve::{App, ServeError, serve};
pub use shutdown::{Shutdown, Trigger};
pub use telemetry::chain;
pub use tls::{TlsClientOptions, TlsError, TlsOptions};
pub use watched_files::{FileError, WatchedFiles};
pub use without_secrets::without_secrets;

#[cfg(test)]
mod tests;
