//! Errors of Redis and of the connection to it, with a bounded set of `error.type` values.

use redis::{ErrorKind, RedisError};

use super::codec::Mismatch;
use crate::backend::BackendError;

/// A call without a reply.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum RedisFailure {
    /// There was no connection, or the server returned an error. The text includes its causes, so
    /// it has no source.
    #[error("{0}")]
    Redis(RedisError),
    /// The call or the attempt to connect took too long.
    #[error("no answer within {0:?}")]
    TimedOut(std::time::Duration),
}

/// Error codes of servers, and whether they are transient: a fail-over, a start, a full memory.
const CODES: [(&str, bool); 19] = [
    ("ERR", false),
    ("WRONGTYPE", false),
    ("WRONGPASS", false),
    ("NOAUTH", false),
    ("NOPERM", false),
    ("NOSCRIPT", true),
    ("CROSSSLOT", false),
    ("MOVED", true),
    ("ASK", true),
    ("TRYAGAIN", true),
    ("CLUSTERDOWN", true),
    ("MASTERDOWN", true),
    ("LOADING", true),
    ("BUSY", true),
    ("READONLY", true),
    ("OOM", true),
    ("MISCONF", true),
    ("NOREPLICAS", true),
    ("UNBLOCKED", true),
];

impl RedisFailure {
    /// The error that the trait returns for `action`.
    pub(super) fn into_backend_error(self, action: &'static str) -> BackendError {
        let code = match &self {
            Self::Redis(error) => code(error),
            Self::TimedOut(_) => None,
        };
        if let Some((code, transient)) = code {
            return BackendError {
                action,
                error_type: code,
                transient,
                status_code: Some(code),
                source: self.into(),
            };
        }
        let error_type = self.error_type();
        BackendError {
            action,
            error_type,
            transient: error_type != "invalid",
            status_code: None,
            source: self.into(),
        }
    }

    /// The value of `error.type`.
    pub(super) fn error_type(&self) -> &'static str {
        match self {
            Self::Redis(error) => {
                code(error).map_or_else(|| connection_error(error), |(code, _)| code)
            }
            Self::TimedOut(_) => "timeout",
        }
    }

    /// Whether the reply calls for a new connection: the password may have changed, and the address
    /// of a server that has become a replica may lead to another one by now.
    pub(super) fn ends_session(error: &RedisError) -> bool {
        code(error).is_some_and(|(code, _)| matches!(code, "NOAUTH" | "WRONGPASS" | "READONLY"))
    }

    /// Whether a retry on a new connection may succeed at once, as after an idle connection was
    /// closed.
    pub(super) fn lost_connection(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_connection_dropped() && !error.is_connection_refusal())
    }
}

/// The `error.type` of an error that is not a server's reply.
fn connection_error(error: &RedisError) -> &'static str {
    if error.is_timeout() {
        return "timeout";
    }
    if error.is_connection_refusal() {
        return "connection_refused";
    }
    if error.is_connection_dropped() {
        return "connection_lost";
    }
    match error.kind() {
        ErrorKind::InvalidClientConfig | ErrorKind::Client => "invalid",
        ErrorKind::Io => io_error(&error.to_string()),
        _ => "connection_lost",
    }
}

/// The client hides the kind of an I/O error, so the two that point to a wrong setting are
/// recognised by their text.
fn io_error(text: &str) -> &'static str {
    if ["certificate", "fatal alert", "corrupt message"]
        .iter()
        .any(|word| text.contains(word))
    {
        "tls"
    } else if text.contains("lookup address") {
        "name_not_resolved"
    } else {
        "connection_lost"
    }
}

impl From<RedisError> for RedisFailure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<Mismatch> for BackendError {
    fn from(mismatch: Mismatch) -> Self {
        let source = Box::new(mismatch);
        Self {
            action: "read features",
            error_type: "mismatch",
            transient: false,
            status_code: None,
            source,
        }
    }
}

/// The code of a server's error. For a wrong password the client has a kind of its own without the
/// code.
fn code(error: &RedisError) -> Option<(&'static str, bool)> {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return Some(("WRONGPASS", false));
    }
    let code = error.code()?;
    let known = CODES.iter().find(|(known, _)| *known == code).copied();
    // Servers have more codes, and modules add theirs; one value for all of them bounds the metric.
    Some(known.unwrap_or(("ERR", false)))
}
