//! New wines with known features, for writes that are verified.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The features of the view `wine_features` with the values of a common wine.
pub(super) const FEATURES: [(&str, f64); 11] = [
    ("fixed_acidity", 7.4),
    ("volatile_acidity", 0.7),
    ("citric_acid", 0.0),
    ("residual_sugar", 1.9),
    ("chlorides", 0.076),
    ("free_sulfur_dioxide", 11.0),
    ("total_sulfur_dioxide", 34.0),
    ("density", 0.9978),
    ("ph", 3.51),
    ("sulphates", 0.56),
    ("alcohol", 9.4),
];
/// A wine that did not exist before, with values that follow from its number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewWine {
    pub(crate) id: String,
    number: u64,
}

/// Names the new wines of one run.
#[derive(Debug)]
pub(crate) struct NewWines {
    run: String,
    next: u64,
}

impl NewWines {
    pub(super) fn new() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            run: format!("{:x}{:x}", since.as_millis(), std::process::id()),
            next: 0,
        }
    }

    pub(super) fn another(&mut self) -> NewWine {
        self.next += 1;
        NewWine {
            id: format!("load-{}-{}", self.run, self.next),
            number: self.next,
        }
    }
}

impl NewWine {
    /// Names and values of its features.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, f64)> {
        // Thousandths of the first feature tell the wines apart, and change no prediction much.
        let own = (self.number % 1_000) as f64 / 1_000.0;
        FEATURES
            .into_iter()
            .enumerate()
            .map(move |(at, (name, value))| (name, if at == 0 { value + own } else { value }))
    }

    /// Their full names, as a lookup asks for them.
    pub(super) fn features() -> Vec<String> {
        let names = FEATURES
            .iter()
            .map(|(name, _)| format!("wine_features:{name}"));
        names.collect()
    }

    /// The body of `POST /push`.
    pub(super) fn push(&self) -> Value {
        let mut columns = Map::new();
        columns.insert("wine_id".to_owned(), json!([self.id]));
        columns.insert(
            "event_timestamp".to_owned(),
            json!([Timestamp::now().to_string()]),
        );
        columns.extend(
            self.values()
                .map(|(name, value)| (name.to_owned(), json!([value]))),
        );
        json!({"push_source_name": "wine_push", "df": columns})
    }
}
