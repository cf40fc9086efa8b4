//! What a storage engine must do for the feature store. An engine is one file behind this trait, and
//! `conformance` holds every one of them to the same behaviour.

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
/// One join key is its value as text; several are a JSON list of texts, in the order of the view. Numbers and texts that read
/// alike are the same entity, since CSV files and some clients do not tell them apart.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EntityKey(Arc<str>);

/// What became of the rows of a write.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Rows that are now stored.
    pub written: u64,
    /// Rows that were older than what is stored and so changed nothing.
    pub outdated: u64,
}

/// How an engine calls itself and its operations, for spans and metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Engine {
    /// `db.system.name`.
    pub system: &'static str,
    /// What a read is called.
    pub read: Call,
    /// What a write is called.
    pub write: Call,
}

/// `db.operation.name` of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Call {
    /// For one entity.
    pub one: &'static str,
    /// For several.
    pub batch: &'static str,
}

/// Where an engine is, for spans; empty for one that is a file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Server {
    /// `server.address`.
    pub address: Option<Arc<str>>,
    /// `server.port`.
    pub port: Option<u16>,
    /// `db.namespace`.
    pub namespace: Option<String>,
}

/// An answer that an engine owes.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send + 'a>>;

/// A storage engine for the rows of feature views.
///
/// Its unit is the row of one entity, which one call reads or writes whole: a hash per entity in Redis, wherever in a cluster
/// it lies. Nothing is promised across entities, so no engine needs a transaction over several of them.
pub trait FeatureBackend: Send + Sync {
    /// Names for telemetry.
    fn engine(&self) -> Engine;

    /// Where it is.
    fn server(&self) -> &Server {
        static NOWHERE: Server = Server {
            address: None,
            port: None,
            namespace: None,
        };
        &NOWHERE
    }

    /// Asks the engine for a sign of life.
    fn ping(&self) -> Pending<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Writes that it takes at the same time without one waiting for the other.
    fn writers(&self) -> usize {
        1
    }

    /// What was last kept under this name by [`FeatureBackend::set_mark`].
    fn mark<'a>(&'a self, name: &'a str) -> Pending<'a, Option<String>>;

    /// Keeps a text beside the rows, or forgets it: how far a file has been written. It must not outlive the rows.
    fn set_mark<'a>(&'a self, name: &'a str, text: Option<String>) -> Pending<'a, ()>;

    /// The rows of `keys`, in their order and as many, each whole; `None` where there is no such entity.
    fn read<'a>(
        &'a self,
        view: &'a Arc<FeatureView>,
        keys: &'a [EntityKey],
    ) -> Pending<'a, Vec<Option<Row>>>;

    /// Stores each row unless the engine holds one with a later event time; of equal times the last one stays.
    ///
    /// Ok means that every row is durable, as far as the engine is told to make it so. After an error each row is stored whole or not at all, and the same call may be
    /// repeated. Dropping the future may leave the write going on.
    fn write<'a>(
        &'a self,
        view: &'a Arc<FeatureView>,
        rows: Vec<(EntityKey, Row)>,
    ) -> Pending<'a, Written>;
}

/// An engine failed.
#[derive(Debug)]
pub struct BackendError {
    /// What was tried.
    pub action: &'static str,
    /// The engine's own word for it, such as `SQLITE_BUSY`; bounded, for `error.type`.
    pub error_type: &'static str,
    /// Whether the same call may succeed soon.
    pub transient: bool,
    /// The code that a server answered with, for `db.response.status_code`; bounded, too.
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

impl EntityKey {
    /// The key for these join key values; `None` if one of them cannot identify anything (null, a fraction, a list).
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
