//! Converts a record of the file to a row of the view.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{MaterializeError, ReadOptions};
use crate::backend::{EntityKey, Row};
use crate::future::FutureBound;
use crate::json;
use crate::time::{Clock, EventTime};
use crate::value::{FeatureValue, WrongType};
use crate::views::{Feature, FeatureView};

/// A row, or why it is refused.
pub(super) type ParsedRow = Result<(EntityKey, Row), String>;

/// The column of event times, which a file may leave out.
const EVENT_TIME: &str = "event_timestamp";

/// The positions of the columns of a view in a CSV file.
pub(super) struct CsvColumns {
    width: usize,
    join_keys: Vec<usize>,
    features: Vec<usize>,
    event_time: Option<usize>,
    max_future: Duration,
}

/// The names of the columns of a view in a JSON object.
pub(super) struct JsonColumns {
    join_keys: Vec<String>,
    features: Vec<String>,
    event_time: String,
    max_future: Duration,
}

impl CsvColumns {
    /// `names` are the column names of the file.
    pub(super) fn new(
        view: &FeatureView,
        names: &[String],
        options: &ReadOptions,
    ) -> Result<Self, MaterializeError> {
        let map: HashMap<&str, &str> = options
            .map
            .iter()
            .map(|(from, to)| (from.as_str(), to.as_str()))
            .collect();
        let names: Vec<&str> = names
            .iter()
            .map(|name| map.get(name.trim()).copied().unwrap_or(name.trim()))
            .collect();
        let join_keys = view
            .join_keys
            .iter()
            .map(|key| position(&names, key))
            .collect::<Result<_, _>>()?;
        let features = view
            .features
            .iter()
            .map(|feature| position(&names, &feature.name))
            .collect::<Result<_, _>>()?;
        let event_time = names.iter().position(|name| *name == EVENT_TIME);
        Ok(Self {
            width: names.len(),
            join_keys,
            features,
            event_time,
            max_future: options.max_future,
        })
    }

    /// An empty field is null; columns that are not in the view are ignored.
    pub(super) fn row(
        &self,
        view: &FeatureView,
        fields: &[Vec<u8>],
        event_time: EventTime,
    ) -> ParsedRow {
        let record = text(fields).ok_or("is not UTF-8")?;
        if record.len() != self.width {
            return Err(format!(
                "has {} fields instead of {}",
                record.len(),
                self.width
            ));
        }
        let keys: Vec<&str> = self.join_keys.iter().map(|&at| record[at].trim()).collect();
        if let Some(at) = keys.iter().position(|key| key.is_empty()) {
            return Err(format!("{} is empty", view.join_keys[at]));
        }
        let event_time = match self.event_time.map(|at| EventTime::parse(record[at])) {
            None => event_time,
            Some(time) => time.ok_or("event_timestamp is not an ISO 8601 time")?,
        };
        check_future(event_time, self.max_future)?;
        let values = view
            .features
            .iter()
            .zip(&self.features)
            .map(|(feature, &at)| named(feature, feature.dtype.from_text(record[at])))
            .collect::<Result<_, _>>()?;
        Ok((EntityKey::from_texts(&keys), Row { event_time, values }))
    }
}

impl JsonColumns {
    /// Inverts the mapping of names.
    pub(super) fn new(view: &FeatureView, options: &ReadOptions) -> Self {
        let name = |column: &str| {
            let mapped = options.map.iter().rev().find(|(_, to)| to == column);
            mapped.map_or(column, |(from, _)| from).to_owned()
        };
        Self {
            join_keys: view.join_keys.iter().map(|key| name(key)).collect(),
            features: view
                .features
                .iter()
                .map(|feature| name(&feature.name))
                .collect(),
            event_time: name(EVENT_TIME),
            max_future: options.max_future,
        }
    }

    /// A feature must be present, even if null: otherwise a misspelt name would be null in every
    /// row without an error.
    pub(super) fn row(&self, view: &FeatureView, line: &[u8], event_time: EventTime) -> ParsedRow {
        let object: Map<String, Value> = json::object(line).map_err(|error| {
            if error.is_data() {
                // "at line 1" would contradict the line of the file.
                let text = error.to_string();
                let reason = text.split(" at line ").next().unwrap_or_default();
                format!("is not a JSON object: {reason}")
            } else {
                "is not JSON".to_owned()
            }
        })?;
        let keys = self
            .join_keys
            .iter()
            .map(|name| object.get(name).unwrap_or(&Value::Null));
        let key = EntityKey::from_json(keys).filter(|_| !self.has_empty_key(&object));
        let key = key.ok_or_else(|| {
            format!(
                "{} is not a string, a whole number or a boolean",
                view.join_keys.join(",")
            )
        })?;
        let event_time = match object.get(&self.event_time) {
            None => event_time,
            Some(time) => time
                .as_str()
                .and_then(EventTime::parse)
                .ok_or("event_timestamp is not an ISO 8601 time")?,
        };
        check_future(event_time, self.max_future)?;
        let values = view
            .features
            .iter()
            .zip(&self.features)
            .map(|(feature, name)| match object.get(name) {
                Some(value) => named(feature, feature.dtype.from_json(value)),
                None => Err(format!("{} is missing", feature.name)),
            })
            .collect::<Result<_, _>>()?;
        Ok((key, Row { event_time, values }))
    }

    fn has_empty_key(&self, object: &Map<String, Value>) -> bool {
        self.join_keys.iter().any(|name| {
            object
                .get(name)
                .and_then(Value::as_str)
                .is_some_and(str::is_empty)
        })
    }
}

/// The clock is read for each row: a run may last longer than the bound.
fn check_future(event_time: EventTime, max: Duration) -> Result<(), String> {
    FutureBound::new(Clock::system().now(), max)
        .check(event_time)
        .map_err(|reason| format!("event_timestamp {reason}"))
}

/// Adds the name of the feature to the error.
fn named(
    feature: &Feature,
    value: Result<Option<FeatureValue>, WrongType>,
) -> Result<Option<FeatureValue>, String> {
    value.map_err(|error| format!("{} is {error}", feature.name))
}

/// The position of a column that must be there exactly once.
fn position(names: &[&str], column: &str) -> Result<usize, MaterializeError> {
    let mut positions = (0..names.len()).filter(|&at| names[at] == column);
    match (positions.next(), positions.next()) {
        (Some(at), None) => Ok(at),
        _ => Err(MaterializeError::Column {
            column: column.to_owned(),
            header: names.iter().map(|&name| name.to_owned()).collect(),
        }),
    }
}

fn text(fields: &[Vec<u8>]) -> Option<Vec<&str>> {
    fields
        .iter()
        .map(|field| std::str::from_utf8(field).ok())
        .collect()
}
