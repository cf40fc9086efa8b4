//! New wines like those of the data set, for writes that are verified. They may be made to differ,
//! as drift.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::change::Drift;
use crate::data_sets::{self, WINE_FEATURES};

/// What wines may lack: one feature, as when the source of a column fails.
const LACKING: &str = "sulphates";

/// A wine that did not exist before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewWine {
    pub(crate) id: String,
    values: [Option<f64>; WINE_FEATURES.len()],
}

/// Names the new wines of one run.
#[derive(Debug)]
pub(crate) struct NewWines {
    run: String,
    next: u64,
    drift: Drift,
}

impl NewWines {
    pub(super) fn new(drift: Drift) -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            run: format!("{:x}{:x}", since.as_millis(), std::process::id()),
            next: 0,
            drift,
        }
    }

    /// One like the wine of a row, from 1, which may lack [`LACKING`].
    pub(super) fn another(&mut self, row: u32, lacks: bool) -> NewWine {
        self.next += 1;
        let known = features_of(row);
        // Millionths of the first feature tell the wines apart, and are no drift.
        let own = (self.next % 1_000) as f64 / 1e6;
        let values = std::array::from_fn(|at| {
            let own = if at == 0 { own } else { 0.0 };
            (!lacks || WINE_FEATURES[at] != LACKING).then(|| known[at] + self.drift.of(at) + own)
        });
        NewWine {
            id: format!("load-{}-{}", self.run, self.next),
            values,
        }
    }
}

impl NewWine {
    /// Names and values of its features.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, Option<f64>)> {
        WINE_FEATURES.into_iter().zip(self.values)
    }

    /// Their full names, as a lookup asks for them.
    pub(super) fn features() -> Vec<String> {
        let names = WINE_FEATURES
            .iter()
            .map(|name| format!("wine_features:{name}"));
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

/// The features of a wine of the data set.
pub(super) fn features_of(row: u32) -> [f64; WINE_FEATURES.len()] {
    let line = data_sets::wine(row);
    let mut cells = line.split(',').skip(1);
    std::array::from_fn(|_| {
        let cell = cells.next().and_then(|cell| cell.trim().parse().ok());
        cell.unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_wine_is_like_its_row_but_for_what_was_asked() {
        let drift = "alcohol+1.5".parse().expect("a shift");
        let wine = NewWines::new(drift).another(1, true);
        let values: Vec<_> = wine.values().map(|(_, value)| value).collect();
        let close = |at: usize, expected: f64| {
            let value: f64 = values[at].expect("a value");
            assert!((value - expected).abs() < 1e-5, "{value} {expected}");
        };
        close(0, 7.4);
        close(7, 0.9978);
        close(10, 10.9);
        assert_eq!(values[9], None);
        assert!(wine.push()["df"]["sulphates"][0].is_null());
    }

    #[test]
    fn every_row_has_all_features() {
        for row in 1..=data_sets::WINES {
            let features = features_of(row);
            // Density is never 0, and the last one is alcohol.
            assert!(features[7] > 0.9 && features[10] > 8.0, "{row}");
        }
    }
}
