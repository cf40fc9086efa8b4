//! Why Elasticsearch did not do what was asked, in bounded words, and whether asking again may help.

use std::error::Error;
use std::io;

use elasticsearch::http::StatusCode;
use serde::{Deserialize, Deserializer};

use crate::store::StoreError;

/// The most of an engine's own words that is kept: they may quote a document.
const MAX_REASON: usize = 300;

/// A call that came to nothing, or an item of a bulk.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No connection, or one that broke.
    #[error("cannot exchange with {node}")]
    Broken {
        node: String,
        error_type: &'static str,
        #[source]
        source: elasticsearch::Error,
    },
    /// The time was over.
    #[error("no answer from {node} in time")]
    TimedOut { node: String },
    /// Every node failed a moment ago, and it is not yet time to try one again.
    #[error("no node answered a moment ago")]
    AllDown,
    /// Elasticsearch said no.
    #[error("Elasticsearch answered {status}: {reason}")]
    Refused {
        status: StatusCode,
        error_type: &'static str,
        reason: String,
    },
    /// An answer that is not one of Elasticsearch.
    #[error("the answer is not one of Elasticsearch")]
    Unreadable(#[source] serde_json::Error),
}

impl Failure {
    /// A call whose exchange broke off.
    pub(super) fn exchange(node: &str, error: elasticsearch::Error) -> Self {
        let node = node.to_owned();
        if error.is_timeout() {
            return Self::TimedOut { node };
        }
        let error_type = if refuses_connections(&error) {
            "connect_error"
        } else {
            "transport_error"
        };
        Self::Broken {
            node,
            error_type,
            source: error,
        }
    }

    /// An answer with an error status.
    pub(super) fn answer(status: StatusCode, body: &[u8]) -> Self {
        let Refusal { error } = serde_json::from_slice(body).unwrap_or_default();
        Self::item(status, error)
    }

    /// An item of a bulk, or of several documents, that failed by itself.
    pub(super) fn item(status: StatusCode, cause: Cause) -> Self {
        let Cause { kind, mut reason } = cause;
        if let Some((end, _)) = reason.char_indices().nth(MAX_REASON) {
            reason.truncate(end);
        }
        Self::Refused {
            status,
            error_type: bounded(&kind, status),
            reason,
        }
    }

    /// Whether the same call may well succeed in a moment. A write twice is a write once: ids and versions see to that.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Broken { .. } => true,
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

    /// Whether the index was deleted under our feet, or never made.
    pub(super) fn is_without_index(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                error_type: "index_not_found_exception",
                ..
            }
        )
    }

    /// A copy for one more of those who share the call.
    pub(super) fn share(&self) -> StoreError {
        let (error_type, text) = (self.error_type(), self.to_string());
        match self {
            Self::TimedOut { .. } => StoreError::TimedOut,
            _ => StoreError::Engine {
                error_type,
                source: text.into(),
            },
        }
    }

    /// The status of the answer, if there is one.
    pub(super) fn status(&self) -> Option<StatusCode> {
        if let Self::Refused { status, .. } = self {
            Some(*status)
        } else {
            None
        }
    }

    fn error_type(&self) -> &'static str {
        match self {
            Self::Broken { error_type, .. } | Self::Refused { error_type, .. } => error_type,
            Self::TimedOut { .. } => "timeout",
            Self::AllDown => "no_node_alive",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TimedOut { .. } => Self::TimedOut,
            other => Self::Engine {
                error_type: other.error_type(),
                source: Box::new(other),
            },
        }
    }
}

/// The body of an answer with an error status.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: Cause,
}

/// Elasticsearch's own words: a type and a reason, or only a text.
#[derive(Debug, Default)]
pub(super) struct Cause {
    pub(super) kind: String,
    pub(super) reason: String,
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Whole {
                #[serde(rename = "type", default)]
                kind: String,
                #[serde(default)]
                reason: Option<String>,
            },
            Text(String),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Whole { kind, reason } => Self {
                kind,
                reason: reason.unwrap_or_default(),
            },
            Form::Text(reason) => Self {
                kind: String::new(),
                reason,
            },
        })
    }
}

fn refuses_connections(error: &elasticsearch::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let kind = inner.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(
            kind,
            Some(
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NotFound
            )
        ) {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// The names of errors that tell more than their status; others are told by the status, so that there are not too many.
fn bounded(kind: &str, status: StatusCode) -> &'static str {
    const NAMED: [&str; 13] = [
        "circuit_breaking_exception",
        "cluster_block_exception",
        "document_parsing_exception",
        "es_rejected_execution_exception",
        "illegal_argument_exception",
        "index_not_found_exception",
        "invalid_alias_name_exception",
        "no_shard_available_action_exception",
        "resource_already_exists_exception",
        "search_phase_execution_exception",
        "security_exception",
        "strict_dynamic_mapping_exception",
        "unavailable_shards_exception",
    ];
    const STATUSES: [&str; 12] = [
        "400", "401", "403", "404", "405", "408", "413", "429", "500", "502", "503", "504",
    ];
    let named = NAMED.into_iter().find(|name| *name == kind);
    named
        .or_else(|| STATUSES.into_iter().find(|known| *known == status.as_str()))
        .unwrap_or("_OTHER")
}
