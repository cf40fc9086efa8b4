//! A table by columns, in the order of the body.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// `{"column": [value, …], …}` in the order of the body. A column that is given twice is an error.
///
/// Pairs and not a map, because requests have one or two entity columns, and the answer repeats
/// their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns<Name = String, Values = Vec<Value>>(pub Vec<(Name, Values)>);

impl Columns {
    /// The values of the column of this name.
    pub fn get(&self, name: &str) -> Option<&[Value]> {
        self.0
            .iter()
            .find(|(column, _)| column == name)
            .map(|(_, values)| values.as_slice())
    }

    /// The number of rows, 0 without columns. The error is the first column with another number of
    /// rows.
    pub fn rows(&self) -> Result<usize, &str> {
        let rows = self.0.first().map_or(0, |(_, values)| values.len());
        match self.0.iter().find(|(_, values)| values.len() != rows) {
            None => Ok(rows),
            Some((name, _)) => Err(name),
        }
    }
}

impl<Name: Serialize, Values: Serialize> Serialize for Columns<Name, Values> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, values)| (name, values)))
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ColumnsVisitor)
    }
}

/// More columns than this are sorted to find duplicates, so that a hostile body does not cost
/// quadratic time.
const FEW: usize = 64;

struct ColumnsVisitor;

impl<'de> Visitor<'de> for ColumnsVisitor {
    type Value = Columns;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of lists")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
        let mut columns = Columns::default();
        while let Some((name, values)) = map.next_entry::<String, Vec<Value>>()? {
            if columns.0.len() < FEW && columns.get(&name).is_some() {
                return Err(de::Error::custom(format_args!(
                    "column `{name}` is given twice"
                )));
            }
            columns.0.push((name, values));
        }
        if columns.0.len() > FEW {
            let mut names: Vec<&str> = columns.0.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            if let Some([name, _]) = names.array_windows().find(|[left, right]| left == right) {
                return Err(de::Error::custom(format_args!(
                    "column `{name}` is given twice"
                )));
            }
        }
        Ok(columns)
    }
}
