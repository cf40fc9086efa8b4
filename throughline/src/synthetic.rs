//! How requests of this program's own are told from those of users.

/// The member of the baggage by which the load generator of the OpenTelemetry demo marks its
/// requests. It travels to every part.
pub(crate) const BAGGAGE: &str = "synthetic_request=true";

/// `user-agent` of a command; it is on the SERVER span of the gateway.
pub(crate) fn user_agent(command: &str) -> String {
    format!("throughline-{command}/{}", env!("CARGO_PKG_VERSION"))
}
