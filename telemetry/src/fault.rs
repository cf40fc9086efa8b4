//! Faults on purpose: a request with `baggage: fault=<service>:<kind>[:<argument>]` makes one
//! service fail for it.
//!
//! Baggage travels with the trace, so a fault reaches a service three hops away. A service follows
//! it only when it was started with `--allow-faults`.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;

/// The longest delay that a request can ask for.
pub const MAX_LATENCY: Duration = Duration::from_secs(5);

/// The fault that a request injects into a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `latency:<ms>`: wait before the work.
    Latency(Duration),
    /// `error`: answer 500 without doing the work.
    Error,
    /// `drop`: close the connection without an answer.
    Drop,
}

/// The error that a fault leaves in the trace.
#[derive(Debug, thiserror::Error)]
#[error("fault on purpose: {kind} in {service}")]
pub struct Injected {
    pub(crate) kind: &'static str,
    pub(crate) service: &'static str,
}

/// The fault that the context's baggage holds for `service`, if it is well formed.
pub(crate) fn for_service(context: &Context, service: &str) -> Option<Fault> {
    parse(context.baggage().get("fault")?.as_str(), service)
}

fn parse(text: &str, service: &str) -> Option<Fault> {
    let mut parts = text.split(':');
    if parts.next()? != service {
        return None;
    }
    match (parts.next()?, parts.next()) {
        ("latency", Some(milliseconds)) => Some(Fault::Latency(
            Duration::from_millis(milliseconds.parse().ok()?).min(MAX_LATENCY),
        )),
        ("error", None) => Some(Fault::Error),
        ("drop", None) => Some(Fault::Drop),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
