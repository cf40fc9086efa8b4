//! Why a call of Elasticsearch failed, from a bounded set of codes, and whether a retry may help.

use std::error::Error;
use std::io;

use elasticsearch::http::StatusCode;
use serde::Deserialize;

use crate::store::StoreError;

/// Characters of a reason that are kept: it may quote a document.
const MAX_REASON: usize = 300;

/// A call failed, or one item of a bulk.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No connection, or one that broke.
    #[error("cannot exchange with {node}")]
    Transport {
        node: String,
        error_type: &'static str,
        #[source]
        source: elasticsearch::Error,
    },
    /// No answer within the time limit.
    #[error("no answer from {node} in time")]
    TimedOut { node: String },
    /// Every node failed a moment ago and is paused.
    #[error("no node answered a moment ago")]
    AllDown,
    /// Elasticsearch answered with an error.
    #[error("Elasticsearch answered {status}: {reason}")]
    Refused {
        status: StatusCode,
        error_type: &'static str,
        reason: String,
    },
    /// The answer cannot be parsed.
    #[error("the answer is not one of Elasticsearch")]
    Unreadable(#[source] serde_json::Error),
}

impl CallError {
    /// The exchange with a node broke off.
    pub(super) fn transport(node: &str, source: elasticsearch::Error) -> Self {
        let node = node.to_owned();
        if source.is_timeout() {
            return Self::TimedOut { node };
        }
        let error_type = if causes(&source).any(is_refused_connection) {
            "connect_error"
        } else {
            "transport_error"
        };
        Self::Transport {
            node,
            error_type,
            source,
        }
    }

    /// An answer with an error status.
    pub(super) fn answer(status: StatusCode, body: &[u8]) -> Self {
        let ErrorBody { error } = serde_json::from_slice(body).unwrap_or_default();
        Self::item(status, error)
    }

    /// An item of a bulk or of an `_mget` failed by itself.
    pub(super) fn item(status: StatusCode, cause: ErrorCause) -> Self {
        let ErrorCause { kind, mut reason } = cause;
        if let Some((end, _)) = reason.char_indices().nth(MAX_REASON) {
            reason.truncate(end);
        }
        Self::Refused {
            status,
            error_type: bounded(&kind, status),
            reason,
        }
    }

    /// Whether the same call may succeed in a moment. Repeating a write is safe: ids and versions
    /// make it idempotent.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Refused {
                status, error_type, ..
            } => {
                // A full disk answers 429 too, and stays full.
                matches!(status.as_u16(), 429 | 502..=504)
                    && *error_type != "cluster_block_exception"
            }
            Self::TimedOut { .. } | Self::AllDown | Self::Unreadable(_) => false,
        }
    }

    /// Whether the index does not exist: it was deleted, or never created.
    pub(super) fn is_missing_index(&self) -> bool {
        self.error_type() == "index_not_found_exception"
    }

    /// The status of the answer, if there is one.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    fn error_type(&self) -> &'static str {
        match self {
            Self::Transport { error_type, .. } | Self::Refused { error_type, .. } => error_type,
            Self::TimedOut { .. } => "timeout",
            Self::AllDown => "no_node_alive",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

impl From<CallError> for StoreError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::TimedOut { .. } => Self::TimedOut,
            other => Self::engine(other.error_type(), other),
        }
    }
}

/// The body of an answer with an error status.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    error: ErrorCause,
}

/// Elasticsearch's description of an error.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "ErrorForm")]
pub(super) struct ErrorCause {
    pub(super) kind: String,
    reason: String,
}

/// The two forms in which Elasticsearch writes an error.
#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorForm {
    Object {
        #[serde(rename = "type", default)]
        kind: String,
        #[serde(default)]
        reason: Option<String>,
    },
    Text(String),
}

impl From<ErrorForm> for ErrorCause {
    fn from(form: ErrorForm) -> Self {
        let (kind, reason) = match form {
            ErrorForm::Object { kind, reason } => (kind, reason.unwrap_or_default()),
            ErrorForm::Text(reason) => (String::new(), reason),
        };
        Self { kind, reason }
    }
}

/// The error and its causes, the innermost last.
pub(super) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn is_refused_connection(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NotFound};
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(ConnectionRefused | HostUnreachable | NotFound))
}

/// The type of an error, if it says more than the status does; otherwise the status. Both come from
/// a fixed list, so that the set of values stays small.
fn bounded(kind: &str, status: StatusCode) -> &'static str {
    const KNOWN: &str = "\
        circuit_breaking_exception cluster_block_exception document_parsing_exception \
        es_rejected_execution_exception illegal_argument_exception index_not_found_exception \
        invalid_alias_name_exception no_shard_available_action_exception \
        resource_already_exists_exception search_phase_execution_exception security_exception \
        strict_dynamic_mapping_exception unavailable_shards_exception \
        400 401 403 404 405 408 413 429 500 502 503 504";
    let known = |word: &str| KNOWN.split(' ').find(|known| *known == word);
    known(kind)
        .or_else(|| known(status.as_str()))
        .unwrap_or("_OTHER")
}
