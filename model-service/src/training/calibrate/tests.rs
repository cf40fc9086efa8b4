//! Temperatures of rows whose true probabilities are known, and of the real data sets.

use std::path::Path;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::training::{TrainOptions, train};

/// Rows of three classes whose logits are `sharpness` times those of the probabilities that the
/// truths are drawn from.
fn rows(count: usize, sharpness: f32) -> (Probabilities, Vec<Truth>) {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (mut logits, mut truths) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let own: Vec<f32> = (0..3).map(|_| random.random_range(-2.0..2.0)).collect();
        let honest = Probabilities::from_logits(own.clone(), 3).into_values();
        let drawn: f32 = random.random();
        let class = u32::from(drawn >= honest[0]) + u32::from(drawn >= honest[0] + honest[1]);
        truths.push(Truth::Class(class));
        logits.extend(own.iter().map(|logit| logit * sharpness));
    }
    (Probabilities::from_logits(logits, 3), truths)
}

#[test]
fn the_temperature_undoes_what_made_the_confidence_too_large_or_too_small() {
    for sharpness in [3.0_f32, 0.5] {
        let (probabilities, truths) = rows(4_000, sharpness);
        let fit = calibrate(&probabilities, &truths).unwrap();
        let ratio = fit.temperature / f64::from(sharpness);
        assert!((0.9..1.1).contains(&ratio), "{sharpness}: {fit:?}");
        assert!(fit.error_after < 0.03, "{fit:?}");
        assert!(fit.error_before > 3.0 * fit.error_after, "{fit:?}");
    }
}

#[test]
fn no_row_gets_another_class() {
    let (probabilities, truths) = rows(1_000, 3.0);
    let fit = calibrate(&probabilities, &truths);
    let after = calibrated(probabilities.clone(), fit.as_ref());
    assert_ne!(probabilities, after);
    for (before, after) in probabilities.rows().zip(after.rows()) {
        assert_eq!(most_likely(before).0, most_likely(after).0);
        assert!((after.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

#[test]
fn what_is_calibrated_stays_and_too_few_rows_say_nothing() {
    let (probabilities, truths) = rows(400, 1.0);
    let fit = calibrate(&probabilities, &truths).unwrap();
    assert!(fit.error_after <= fit.error_before, "{fit:?}");
    assert!((0.8..1.25).contains(&fit.temperature), "{fit:?}");
    let (probabilities, truths) = rows(FEWEST_ROWS - 1, 3.0);
    assert_eq!(calibrate(&probabilities, &truths), None);
}

/// Half of those that belong to neither class are said to be class 1 with certainty.
#[test]
fn a_share_counts_as_far_as_it_is_true() {
    let certain: Vec<f32> = (0..200).flat_map(|_| [0.02, 0.98]).collect();
    let truths: Vec<Truth> = (0..200).map(|_| Truth::Share(0.75)).collect();
    let probabilities = Probabilities::from_logits(certain.iter().map(|p| p.ln()).collect(), 2);
    let fit = calibrate(&probabilities, &truths).unwrap();
    assert!((fit.error_before - 0.23).abs() < 1e-3, "{fit:?}");
    let row = calibrated(probabilities, Some(&fit)).into_values();
    assert!((row[1] - 0.75).abs() < 1e-3, "{row:?}");
}

#[test]
fn probabilities_of_0_and_1_have_a_temperature() {
    let values: Vec<f32> = (0..100).flat_map(|_| [0.0, 1.0]).collect();
    let probabilities = Probabilities::from_logits(values.iter().map(|p| p.ln()).collect(), 2);
    let right = vec![Truth::Class(1); 100];
    assert_eq!(calibrate(&probabilities, &right).unwrap().temperature, 1.0);
    let wrong = vec![Truth::Class(0); 100];
    let fit = calibrate(&probabilities, &wrong).unwrap();
    assert!(fit.error_after <= fit.error_before && fit.temperature.is_finite());
    for row in calibrated(probabilities, Some(&fit)).rows() {
        assert_eq!(row, [0.0, 1.0]);
    }
}

#[test]
fn the_trained_models_are_as_certain_as_they_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let data = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../data")
            .join(name)
    };
    let wines = TrainOptions::new(data("wine_quality/winequality-red.csv"), folder.path());
    let texts = TrainOptions::of_texts(data("product_reviews/reviews.csv"), folder.path());
    for (options, more_rows) in [(wines, false), (texts, true)] {
        let manifest = train(&options).unwrap().manifest;
        let fit = manifest.calibration.clone().unwrap();
        assert!(fit.error_after <= fit.error_before, "{fit:?}");
        assert!(fit.error_after < 0.08, "{fit:?}");
        // The neutral snippets belong to the calibration and to no class.
        assert_eq!(
            fit.rows > manifest.metrics.validation_rows,
            more_rows,
            "{fit:?}"
        );
        assert_eq!(manifest.check(), Ok(()));
    }
}
