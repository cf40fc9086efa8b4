//! How good a model of a table is, and the reference profile for drift.

use super::TrainError;
use super::calibrate::{calibrate, calibrated};
use super::learn::Prepared;
use super::profile;
use super::split::Split;
use super::table::{Example, Table};
use crate::candle::Mlp;
use crate::model::{ComputeError, Probabilities};
use crate::repository::{Calibration, Metrics, ReferenceProfile, Regression};

/// What is known of a model when its training ends.
pub(super) struct Evaluation {
    pub(super) metrics: Metrics,
    /// Of the calibrated confidence, since that is what is answered.
    pub(super) reference: ReferenceProfile,
    pub(super) calibration: Option<Calibration>,
}

pub(super) fn evaluate(
    table: &Table,
    split: &Split,
    prepared: &Prepared,
    model: &Mlp,
) -> Result<Evaluation, ComputeError> {
    let training = prepared.training.predict(model)?;
    let validation = prepared.validation.predict(model)?;
    let rows = Metrics {
        training_rows: split.training.len(),
        validation_rows: split.validation.len(),
        ..Metrics::default()
    };
    if let Some(scale) = &prepared.regression {
        let (training, validation) = (numbers(&training, scale), numbers(&validation, scale));
        let mean = vec![f64::from(scale.mean); split.validation.len()];
        let metrics = Metrics {
            training_rmse: Some(prepared.training.rmse_of(&training)),
            validation_rmse: Some(prepared.validation.rmse_of(&validation)),
            mean_baseline_rmse: Some(prepared.validation.rmse_of(&mean)),
            ..rows
        };
        let reference = profile::with_numbers(table, &split.training, validation);
        return Ok(Evaluation {
            metrics,
            reference,
            calibration: None,
        });
    }
    let metrics = Metrics {
        training_accuracy: Some(prepared.training.accuracy_of(&training)),
        validation_accuracy: Some(prepared.validation.accuracy_of(&validation)),
        majority_baseline: Some(majority_baseline(table, split)),
        ..rows
    };
    let calibration = calibrate(&validation, &prepared.validation.truths());
    let validation = calibrated(validation, calibration.as_ref());
    let reference = profile::reference(table, &split.training, &validation);
    Ok(Evaluation {
        metrics,
        reference,
        calibration,
    })
}

/// Both parts need rows, and a class that the training part lacks cannot be learned.
pub(super) fn check_split(table: &Table, split: &Split) -> Result<(), TrainError> {
    if split.training.is_empty() || split.validation.is_empty() {
        let rows = table.examples.len();
        return Err(TrainError::TooFew { rows });
    }
    let rare = table
        .classes()
        .iter()
        .zip(0..)
        .find(|(_, class)| share(&split.training, *class) == 0.0);
    match rare {
        Some((class, _)) => Err(TrainError::RareClass {
            class: class.clone(),
        }),
        None => Ok(()),
    }
}

/// The numbers that a regression's outputs stand for.
fn numbers(outputs: &Probabilities, scale: &Regression) -> Vec<f64> {
    let outputs = outputs.rows();
    let numbers = outputs.map(|output| f64::from(scale.number(output).unwrap_or(f32::NAN)));
    numbers.collect()
}

/// Accuracy on the validation part of a model that always answers the training part's most frequent
/// class.
fn majority_baseline(table: &Table, split: &Split) -> f64 {
    let classes = (0..).take(table.classes().len());
    let majority = classes.max_by(|a: &u32, b: &u32| {
        share(&split.training, *a).total_cmp(&share(&split.training, *b))
    });
    share(&split.validation, majority.unwrap_or_default())
}

fn share(examples: &[Example], class: u32) -> f64 {
    let of_class = examples
        .iter()
        .filter(|example| example.target.is_class(class));
    of_class.count() as f64 / examples.len().max(1) as f64
}
