//! The wines of the cases: rows of the data set, and two that cannot be predicted.

use std::sync::OnceLock;

use anyhow::{Context, Result};
use http::StatusCode;
use serde_json::{Value, json};

use crate::system::Site;

/// A wine without a value for alcohol.
pub(super) const HOLE: &str = "wine-with-a-hole";
/// A wine whose features are older than the view allows.
pub(super) const STALE: &str = "wine-of-another-century";

/// A wine with the largest finite FP32 in two features, a common sentinel for a missing value.
pub(super) const HUGE: &str = "wine-of-the-largest-numbers";

/// A row of the data set.
#[derive(Debug)]
pub(super) struct Wine {
    pub(super) id: &'static str,
    /// The eleven features as the file writes them.
    pub(super) features: Vec<&'static str>,
    pub(super) quality: u8,
}

impl Wine {
    /// The features as JSON numbers, digit for digit those of the file.
    pub(super) fn numbers(&self) -> Value {
        let text = format!("[{}]", self.features.join(","));
        serde_json::from_str(&text).expect("the data set holds numbers")
    }

    pub(super) fn floats(&self) -> Vec<f32> {
        self.features
            .iter()
            .map(|text| text.parse().expect("the data set holds numbers"))
            .collect()
    }
}

/// All 1,599 wines in the order of the file.
pub(super) fn wines() -> &'static [Wine] {
    static WINES: OnceLock<Vec<Wine>> = OnceLock::new();
    WINES.get_or_init(|| {
        let csv = include_str!("../../../data/wine_quality/winequality-red.csv");
        csv.lines()
            .skip(1)
            .map(|line| wine(line).expect("the data set is whole"))
            .collect()
    })
}

fn wine(line: &'static str) -> Option<Wine> {
    let (id, rest) = line.split_once(',')?;
    let (features, quality) = rest.rsplit_once(',')?;
    Some(Wine {
        id,
        features: features.split(',').collect(),
        quality: quality.trim().parse().ok()?,
    })
}

/// The input `features` of some wines, row after row in one list.
pub(super) fn features(wines: &[Wine]) -> Value {
    let flat: Vec<Value> = wines
        .iter()
        .flat_map(|wine| wine.numbers().as_array().cloned().unwrap_or_default())
        .collect();
    json!({"name": "features", "shape": [wines.len(), 11], "datatype": "FP32", "data": flat})
}

/// The input `data_id` of some entities.
pub(super) fn data_ids(ids: &[&str]) -> Value {
    json!({"name": "data_id", "shape": [ids.len()], "datatype": "BYTES", "data": ids})
}

/// A wine whose features of these indices have these values, which JSON can write.
pub(super) fn changed(wine: &Wine, values: &[(usize, f64)]) -> Vec<f64> {
    let mut numbers: Vec<f64> = wine.floats().into_iter().map(f64::from).collect();
    for (index, value) in values {
        numbers[*index] = *value;
    }
    numbers
}

/// Writes [`HOLE`], [`STALE`] and [`HUGE`] into the feature store, once.
pub(super) fn add_unusable_wines(site: &Site) -> Result<()> {
    static ADDED: OnceLock<()> = OnceLock::new();
    if ADDED.get().is_some() {
        return Ok(());
    }
    let header = include_str!("../../../data/wine_quality/winequality-red.csv")
        .lines()
        .next()
        .unwrap_or_default();
    let names: Vec<&str> = header.split(',').skip(1).take(11).collect();
    let now = "2026-01-01T00:00:00";
    let mut rows = json!({"wine_id": [HOLE, STALE, HUGE], "event_timestamp": [now, "1999-01-01T00:00:00", now]});
    for name in names {
        rows[name] = match name {
            "alcohol" => json!([null, 9.5, 9.5]),
            "volatile_acidity" | "density" => json!([1.0, 1.0, f32::MAX]),
            _ => json!([1.0, 1.0, 1.0]),
        };
    }
    let body = json!({"feature_view_name": "wine_features", "df": rows}).to_string();
    let written = site.post(
        &format!("{}/write-to-online-store", site.urls.feature_store),
        body,
        &[],
    )?;
    (written.status == StatusCode::OK)
        .then_some(())
        .with_context(|| format!("{} {}", written.status, written.body))?;
    let _ = ADDED.set(());
    Ok(())
}
