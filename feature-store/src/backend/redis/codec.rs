//! Rows as hashes, readable with `redis-cli`: a field per feature and one for the event time.

use std::fmt::Write as _;

use redis::{Cmd, Value};

use super::command::KeyedCommand;
use crate::backend::{EntityKey, Row};
use crate::time::EventTime;
use crate::value::{Dtype, FeatureValue};
use crate::views::{Feature, FeatureView};

/// The field of the event time; no feature can have this name. A hash without it is not a row.
const EVENT_TIME: &str = "__event_time";

/// The server is not what it seems.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mismatch {
    /// The reply is not of the type that the command returns.
    #[error("the reply is not of the type that the command returns")]
    Reply,
}

/// Turns entities and rows into keys and commands, with one key prefix.
#[derive(Debug)]
pub(super) struct Codec {
    prefix: String,
}

/// The rows of one entity in one write: the event times that would be stored one after another, and
/// the values of the last.
#[derive(Debug)]
pub(super) struct EntityRows<'a> {
    /// The entity.
    pub(super) key: &'a EntityKey,
    /// The newest row; of rows with equal event times the last one.
    pub(super) newest: &'a Row,
    times: Vec<EventTime>,
    rows: u64,
}

impl Codec {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// `HMGET prefix view:entity __event_time feature...`
    pub(super) fn read(&self, view: &FeatureView, key: &EntityKey) -> KeyedCommand {
        let mut command = redis::cmd("HMGET");
        let key = self.key(view, key);
        command.arg(&key).arg(EVENT_TIME);
        for feature in &view.features {
            command.arg(&feature.name);
        }
        KeyedCommand::new(&key, command)
    }

    /// Reads the reply to [`Codec::read`]; `None` if there is no such entity.
    pub(super) fn row(view: &FeatureView, reply: Value) -> Result<Option<Row>, Mismatch> {
        let Value::Array(fields) = reply else {
            return Err(Mismatch::Reply);
        };
        if fields.len() != view.features.len() + 1 {
            return Err(Mismatch::Reply);
        }
        let mut fields = fields.into_iter();
        let event_time = match fields.next() {
            Some(Value::Nil) => return Ok(None),
            Some(Value::BulkString(text)) => match event_time(&text) {
                Some(time) => time,
                None => return Ok(Some(Row::all_unreadable(view))),
            },
            _ => return Err(Mismatch::Reply),
        };
        let values = view
            .features
            .iter()
            .zip(fields)
            .map(|(feature, field)| read_field(feature, field))
            .collect::<Result<_, _>>()?;
        Ok(Some(Row { event_time, values }))
    }

    /// `EVALSHA` with the hash of `put.lua`, or `EVAL` with its text.
    pub(super) fn write(
        &self,
        operation: &str,
        script: &str,
        view: &FeatureView,
        rows: &EntityRows<'_>,
    ) -> KeyedCommand {
        let mut command = redis::cmd(operation);
        let key = self.key(view, rows.key);
        command.arg(script).arg(1).arg(&key).arg(rows.times.len());
        for time in &rows.times {
            command.arg(time.micros());
        }
        let features = || view.features.iter().zip(rows.newest.values.iter());
        command.arg(features().filter(|(_, value)| value.is_some()).count());
        for (feature, value) in features() {
            if let Some(value) = value {
                push_value(command.arg(&feature.name), value);
            }
        }
        for (feature, _) in features().filter(|(_, value)| value.is_none()) {
            command.arg(&feature.name);
        }
        KeyedCommand::new(&key, command)
    }

    /// `DEL prefix view:entity`
    pub(super) fn delete(&self, view: &FeatureView, key: &EntityKey) -> KeyedCommand {
        let key = self.key(view, key);
        let mut command = redis::cmd("DEL");
        command.arg(&key);
        KeyedCommand::new(&key, command)
    }

    /// `GET`, `SET` or `DEL` of a mark. The name of a view cannot begin with two underscores.
    pub(super) fn mark(&self, operation: &str, name: &str, text: Option<&str>) -> KeyedCommand {
        let key = [&self.prefix, "__mark:", name].concat();
        let mut command = redis::cmd(operation);
        command.arg(&key);
        if let Some(text) = text {
            command.arg(text);
        }
        KeyedCommand::new(&key, command)
    }

    fn key(&self, view: &FeatureView, key: &EntityKey) -> String {
        [&self.prefix, &*view.name, ":", key.as_str()].concat()
    }
}

impl<'a> EntityRows<'a> {
    /// The first row of an entity.
    pub(super) fn new(key: &'a EntityKey, row: &'a Row) -> Self {
        Self {
            key,
            newest: row,
            times: vec![row.event_time],
            rows: 1,
        }
    }

    /// Adds a row of the same entity.
    pub(super) fn push(&mut self, row: &'a Row) {
        self.rows += 1;
        if row.event_time >= self.newest.event_time {
            self.newest = row;
            self.times.push(row.event_time);
        }
    }

    /// How many rows were outdated if the engine has written `written` of them.
    pub(super) fn outdated(&self, written: u64) -> u64 {
        self.rows.saturating_sub(written)
    }
}

/// Adds a value as an argument: texts and bytes as they are, the rest as text.
fn push_value(command: &mut Cmd, value: &FeatureValue) {
    match value {
        FeatureValue::Text(text) => command.arg(&**text),
        FeatureValue::Bytes(bytes) => command.arg(&**bytes),
        FeatureValue::Int(int) => command.arg(*int),
        FeatureValue::Unreadable => command.arg(""),
        FeatureValue::Bool(flag) => command.arg(if *flag { "true" } else { "false" }),
        FeatureValue::Float(number) => {
            let mut text = String::with_capacity(24);
            // The form of `Debug` is the shortest that is read back as the same number, with an
            // exponent where that is shorter.
            let _ = write!(text, "{number:?}");
            command.arg(text)
        }
    };
}

fn read_field(feature: &Feature, field: Value) -> Result<Option<FeatureValue>, Mismatch> {
    match field {
        Value::Nil => Ok(None),
        // The value may have been written with an earlier dtype.
        Value::BulkString(bytes) => Ok(Some(
            parse_value(feature.dtype, bytes).unwrap_or(FeatureValue::Unreadable),
        )),
        _ => Err(Mismatch::Reply),
    }
}

fn parse_value(dtype: Dtype, bytes: Vec<u8>) -> Option<FeatureValue> {
    if dtype == Dtype::Bytes {
        return Some(FeatureValue::Bytes(bytes.into()));
    }
    let text = std::str::from_utf8(&bytes).ok()?;
    match dtype {
        Dtype::Float64 | Dtype::Float32 => text.parse().ok().map(FeatureValue::Float),
        Dtype::Int64 | Dtype::Int32 => text.parse().ok().map(FeatureValue::Int),
        Dtype::Bool => text.parse().ok().map(FeatureValue::Bool),
        Dtype::String | Dtype::Bytes => Some(FeatureValue::Text(text.into())),
    }
}

fn event_time(bytes: &[u8]) -> Option<EventTime> {
    EventTime::from_micros(std::str::from_utf8(bytes).ok()?.parse().ok()?)
}
