//! The reference profile: the distributions of features and predictions at the time of the
//! training.

use super::table::{Example, Table};
use crate::model::{Probabilities, most_likely};
use crate::repository::{FeatureProfile, Normalisation, ReferenceProfile};

/// Mean and standard deviation (of the population) per feature; a feature that does not vary gets a
/// deviation of 1.
pub(crate) fn normalisation(table: &Table, training: &[Example]) -> Normalisation {
    let features = table.features.iter().enumerate();
    let moments: Vec<(f64, f64)> = features
        .map(|(feature, name)| match table.categories.get(name) {
            // The position of a category stays what it is.
            Some(_) => (0.0, 1.0),
            None => moments(&column(training, feature)),
        })
        .collect();
    Normalisation {
        mean: moments.iter().map(|(mean, _)| *mean as f32).collect(),
        std: moments
            .iter()
            .map(|(_, std)| if *std > 0.0 { *std as f32 } else { 1.0 })
            .collect(),
    }
}

/// Features over the training part, predictions over the validation part.
pub(crate) fn reference(
    table: &Table,
    training: &[Example],
    validation: &Probabilities,
) -> ReferenceProfile {
    with_predictions(features(table, training), validation, table.classes().len())
}

/// The same for a model that predicts numbers.
pub(crate) fn with_numbers(
    table: &Table,
    training: &[Example],
    numbers: Vec<f64>,
) -> ReferenceProfile {
    ReferenceProfile {
        features: features(table, training),
        class_shares: Vec::new(),
        confidence_deciles: Vec::new(),
        values: Some(profile("value", numbers)),
    }
}

fn features(table: &Table, training: &[Example]) -> Vec<FeatureProfile> {
    let features = table.features.iter().enumerate();
    let features = features.map(|(feature, name)| profile(name, column(training, feature)));
    features.collect()
}

/// The profile of the features with that of the predictions for the validation part.
pub(crate) fn with_predictions(
    features: Vec<FeatureProfile>,
    validation: &Probabilities,
    classes: usize,
) -> ReferenceProfile {
    let mut shares = vec![0.0; classes];
    let mut confidences = Vec::new();
    for row in validation.rows() {
        let (class, confidence) = most_likely(row);
        shares[class] += 1.0;
        confidences.push(f64::from(confidence));
    }
    let rows = confidences.len().max(1) as f64;
    confidences.sort_by(f64::total_cmp);
    ReferenceProfile {
        features,
        class_shares: shares.into_iter().map(|count: f64| count / rows).collect(),
        confidence_deciles: deciles(&confidences),
        values: None,
    }
}

pub(crate) fn profile(name: &str, mut values: Vec<f64>) -> FeatureProfile {
    values.sort_by(f64::total_cmp);
    let (mean, std) = moments(&values);
    let decile_edges = deciles(&values);
    let mut shares = vec![0.0; decile_edges.len() + 1];
    for value in &values {
        shares[decile_edges.partition_point(|edge| edge <= value)] += 1.0;
    }
    let rows = values.len().max(1) as f64;
    FeatureProfile {
        name: name.to_owned(),
        decile_edges,
        decile_shares: shares.into_iter().map(|count: f64| count / rows).collect(),
        min: values.first().copied().unwrap_or(0.0),
        max: values.last().copied().unwrap_or(0.0),
        mean,
        std,
        missing: 0,
    }
}

fn column(examples: &[Example], feature: usize) -> Vec<f64> {
    examples
        .iter()
        .map(|example| f64::from(example.features[feature]))
        .collect()
}

pub(crate) fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / count).sqrt())
}

/// The nine inner deciles of sorted values, with linear interpolation (Hyndman and Fan's type 7,
/// the default of numpy).
fn deciles(sorted: &[f64]) -> Vec<f64> {
    let Some(last) = sorted.len().checked_sub(1) else {
        return Vec::new();
    };
    let mut deciles = Vec::with_capacity(9);
    for tenth in 1..10 {
        let position = last as f64 * f64::from(tenth) / 10.0;
        let below = position.floor();
        let (low, high) = (sorted[below as usize], sorted[position.ceil() as usize]);
        deciles.push(low + (high - low) * (position - below));
    }
    deciles
}
