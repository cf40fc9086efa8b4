//! From the fields of a line to a row of a view.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use serde_json::{Map, Value};

use super::rows::{Csv, Format};
use super::{MaterializeError, ReadOptions};
use crate::backend::{EntityKey, Row};
use crate::time::EventTime;
use crate::value::WrongType;
use crate::views::{Feature, FeatureView};

/// A row, or why the line is none.
pub(super) type Outcome = Result<(EntityKey, Row), String>;

/// The column of event times, which a file may leave out.
const EVENT_TIME: &str = "event_timestamp";

/// Where the columns of a view stand in a CSV file.
pub(super) struct Header {
    width: usize,
    join_keys: Vec<usize>,
    features: Vec<usize>,
    event_time: Option<usize>,
}

/// The names by which the columns of a view are found in a JSON object.
pub(super) struct Names {
    join_keys: Vec<String>,
    features: Vec<String>,
    event_time: String,
}

impl Header {
    /// `names` are those of the file.
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
        let places = |column: &str| {
            (0..names.len())
                .filter(|&at| names[at] == column)
                .collect::<Vec<_>>()
        };
        let place = |column: &String| {
            let header = || names.iter().map(|&name| name.to_owned()).collect();
            let [at] = places(column)[..] else {
                return Err(MaterializeError::Column {
                    column: column.clone(),
                    header: header(),
                });
            };
            Ok(at)
        };
        let join_keys = view.join_keys.iter().map(place).collect::<Result<_, _>>()?;
        let features = view
            .features
            .iter()
            .map(|feature| place(&feature.name))
            .collect::<Result<_, _>>()?;
        let event_time = names.iter().position(|name| *name == EVENT_TIME);
        Ok(Self {
            width: names.len(),
            join_keys,
            features,
            event_time,
        })
    }

    /// An empty field is null; columns that the view has not are ignored.
    pub(super) fn row(
        &self,
        view: &FeatureView,
        fields: &[Vec<u8>],
        event_time: EventTime,
    ) -> Outcome {
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
        let value = |(feature, &at): (&Feature, &usize)| {
            feature
                .dtype
                .from_text(record[at])
                .map_err(|error: WrongType| format!("{} is {error}", feature.name))
        };
        let values = view
            .features
            .iter()
            .zip(&self.features)
            .map(value)
            .collect::<Result<_, _>>()?;
        Ok((EntityKey::from_texts(&keys), Row { event_time, values }))
    }
}

impl Names {
    /// The map the other way round.
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
        }
    }

    /// A feature must be there, if only as null: a misspelt name would otherwise be null in every row, and nobody told.
    pub(super) fn row(&self, view: &FeatureView, line: &[u8], event_time: EventTime) -> Outcome {
        let object: Map<String, Value> = serde_json::from_slice(line).map_err(|error| {
            let what = if error.is_data() {
                "a JSON object"
            } else {
                "JSON"
            };
            format!("is not {what}")
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
        let value = |(feature, name): (&Feature, &String)| {
            let value = object
                .get(name)
                .ok_or_else(|| format!("{} is missing", feature.name))?;
            feature
                .dtype
                .from_json(value)
                .map_err(|error: WrongType| format!("{} is {error}", feature.name))
        };
        let values = view
            .features
            .iter()
            .zip(&self.features)
            .map(value)
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

/// The column names of a file, for going on further down; a file of JSON lines has none.
pub(super) fn header_of(format: Format, file: File) -> io::Result<Vec<String>> {
    match format {
        Format::Csv => Csv::new(Box::new(file), 0, 1).header(),
        Format::Ndjson => Ok(Vec::new()),
    }
}

fn text(fields: &[Vec<u8>]) -> Option<Vec<&str>> {
    fields
        .iter()
        .map(|field| std::str::from_utf8(field).ok())
        .collect()
}
