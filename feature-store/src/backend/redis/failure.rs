//! What went wrong, in a bounded number of words.

use redis::{ErrorKind, RedisError};

use super::codec::Mismatch;
use crate::backend::BackendError;

/// A call that has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// There was no connection, or the server refused. Its text has that of its causes, so they are not told again.
    #[error("{0}")]
    Redis(RedisError),
    /// It took too long, connecting included.
    #[error("no answer within {0:?}")]
    TimedOut(std::time::Duration),
}

/// Error codes that servers answer with, and whether they may pass by themselves: a fail-over, a start, a full memory.
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

impl Failure {
    /// The error as the trait has it.
    pub(super) fn of(self, action: &'static str) -> BackendError {
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

    /// A bounded word for it.
    pub(super) fn error_type(&self) -> &'static str {
        match self {
            Self::Redis(error) => code(error).map_or_else(|| word(error), |(code, _)| code),
            Self::TimedOut(_) => "timeout",
        }
    }

    /// Whether an answer means that the connection must be made anew: with another password perhaps, or to another server,
    /// since one that has become a replica may no longer be the one that the address leads to.
    pub(super) fn ends_session(error: &RedisError) -> bool {
        code(error).is_some_and(|(code, _)| matches!(code, "NOAUTH" | "WRONGPASS" | "READONLY"))
    }

    /// Whether another try on a new connection may succeed at once, as after an idle connection was closed.
    pub(super) fn lost_connection(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_connection_dropped() && !error.is_connection_refusal())
    }
}

/// What happened before any server answered.
fn word(error: &RedisError) -> &'static str {
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
        ErrorKind::Io => of_text(&error.to_string()),
        _ => "connection_lost",
    }
}

/// The client hides the kind of an I/O error from its users, so the text has to tell the two that point to a wrong setting.
fn of_text(text: &str) -> &'static str {
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

impl From<RedisError> for Failure {
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

/// The code of the server's answer. The client makes of a refused password a word of its own.
fn code(error: &RedisError) -> Option<(&'static str, bool)> {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return Some(("WRONGPASS", false));
    }
    let code = error.code()?;
    let known = CODES.iter().find(|(known, _)| *known == code).copied();
    // Servers have more codes, and modules their own; one word for all of them bounds the metric.
    Some(known.unwrap_or(("ERR", false)))
}
