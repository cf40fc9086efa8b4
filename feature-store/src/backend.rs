//! The trait that a storage engine implements. `conformance` tests every implementation for the
//! same behaviour.

mod database;
mod redis;
pub mod sqlite;

pub use self::redis::{RedisAddress, RedisBackend, RedisOptions, SettingsError};
pub use database::Database;

#[cfg(test)]
pub(crate) mod conformance;

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;

use crate::time::EventTime;
use crate::value::FeatureValue;
use crate::views::FeatureView;

/// The newest values of one entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// When the values were true.
    pub event_time: EventTime,
    /// One value per feature in the order of the view; `None` is null.
    pub values: Arc<[Option<FeatureValue>]>,
}

/// The identity of an entity in a view: its join key values as one text.
///
/// One join key is its value as text; several are a JSON list of texts, in the order of the view. A
/// number and the same number as text are one entity, since CSV files and some clients do not
/// distinguish them.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EntityKey(Arc<str>);

/// The result of a write.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Rows that are now stored.
    pub written: u64,
    /// Rows that were older than the stored ones and changed nothing.
    pub outdated: u64,
}

/// The names of an engine and its operations in spans and metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Engine {
    /// `db.system.name`.
    pub system: &'static str,
    /// Names of a read.
    pub read: Call,
    /// Names of a write.
    pub write: Call,
}

/// `db.operation.name` of an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Call {
    /// For one entity.
    pub one: &'static str,
    /// For several.
    pub batch: &'static str,
}

/// The address of an engine in spans; empty for a file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Server {
    /// `server.address`.
    pub address: Option<Arc<str>>,
    /// `server.port`.
    pub port: Option<u16>,
    /// `db.namespace`.
    pub namespace: Option<String>,
}

/// The future of an engine's result.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send + 'a>>;

/// A storage engine for the rows of feature views.
///
/// One call reads or writes the whole row of an entity: in Redis a hash, on any node of a cluster.
/// There is no guarantee across entities, so no engine needs a transaction over several of them.
pub trait FeatureBackend: Send + Sync {
    /// Names for telemetry.
    fn engine(&self) -> Engine;

    /// Its address.
    fn server(&self) -> &Server {
        static NOWHERE: Server = Server {
            address: None,
            port: None,
            namespace: None,
        };
        &NOWHERE
    }

    /// Checks that the engine answers.
    fn ping(&self) -> Pending<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Makes what the rows of a view need, for a view that the engine was not opened with.
    fn prepare<'a>(&'a self, _view: &'a Arc<FeatureView>) -> Pending<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Checks that the table of a view has the columns that the view needs, for engines that have
    /// tables.
    fn check<'a>(&'a self, _view: &'a Arc<FeatureView>) -> Pending<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Writes that it can execute at the same time.
    fn writers(&self) -> usize {
        1
    }

    /// The text that [`FeatureBackend::set_mark`] last stored under this name.
    fn mark<'a>(&'a self, name: &'a str) -> Pending<'a, Option<String>>;

    /// Stores or deletes a text beside the rows: how far a file has been written. It must not
    /// outlive the rows.
    fn set_mark<'a>(&'a self, name: &'a str, text: Option<String>) -> Pending<'a, ()>;

    /// One complete row per key, in their order; `None` where there is no such entity. A stored
    /// value that is not of its dtype is `Unreadable` and takes nothing else with it.
    fn read<'a>(
        &'a self,
        view: &'a Arc<FeatureView>,
        keys: &'a [EntityKey],
    ) -> Pending<'a, Vec<Option<Row>>>;

    /// Stores each row unless the stored one has a later event time; of rows with equal times the
    /// last one stays.
    ///
    /// Ok means that every row is as durable as the engine is configured to make it. After an error
    /// each row is stored completely or not at all, and the call may be repeated. Dropping the
    /// future may not stop the write.
    fn write<'a>(
        &'a self,
        view: &'a Arc<FeatureView>,
        rows: Vec<(EntityKey, Row)>,
    ) -> Pending<'a, Written>;

    /// Deletes the rows of these entities, whatever their event times, and returns how many there
    /// were.
    fn delete<'a>(&'a self, view: &'a Arc<FeatureView>, keys: &'a [EntityKey]) -> Pending<'a, u64>;
}

/// An engine failed.
#[derive(Debug)]
pub struct BackendError {
    /// The attempted action, after "cannot".
    pub action: &'static str,
    /// The engine's name of the error, such as `SQLITE_BUSY`, for `error.type`; one of a bounded
    /// set.
    pub error_type: &'static str,
    /// Whether the same call may succeed soon.
    pub transient: bool,
    /// The error code of a server, for `db.response.status_code`; one of a bounded set.
    pub status_code: Option<&'static str>,
    /// The engine's error.
    pub source: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for BackendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cannot {}", self.action)
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

impl Row {
    /// The row of an entity that is there, and of which nothing can be read.
    pub(crate) fn all_unreadable(view: &FeatureView) -> Self {
        Self {
            event_time: EventTime::EPOCH,
            values: view
                .features
                .iter()
                .map(|_| Some(FeatureValue::Unreadable))
                .collect(),
        }
    }

    /// Whether nothing of it can be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.values
            .iter()
            .all(|value| matches!(value, Some(FeatureValue::Unreadable)))
    }

    /// The position of the first value that the engine has and cannot read.
    pub(crate) fn unreadable(&self) -> Option<usize> {
        self.values
            .iter()
            .position(|value| matches!(value, Some(FeatureValue::Unreadable)))
    }
}

impl EntityKey {
    /// The key for these join key values; `None` if one of them cannot identify anything (null, a
    /// fraction, a list).
    pub fn from_json<'a>(values: impl IntoIterator<Item = &'a Value>) -> Option<Self> {
        let mut texts = Vec::with_capacity(1);
        for value in values {
            texts.push(match value {
                Value::String(text) => std::borrow::Cow::Borrowed(text.as_str()),
                Value::Number(number) if !number.is_f64() => number.to_string().into(),
                Value::Bool(flag) => flag.to_string().into(),
                _ => return None,
            });
        }
        Some(Self::from_texts(&texts))
    }

    /// The key for these join key values.
    pub fn from_texts<S: AsRef<str> + serde::Serialize>(values: &[S]) -> Self {
        match values {
            [one] => Self(one.as_ref().into()),
            several => Self(serde_json::to_string(several).unwrap_or_default().into()),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
