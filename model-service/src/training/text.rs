//! Training of `text_sentiment` on product reviews, and its cross-validation.

mod data;
mod encoder;
mod learn;
mod split;

use data::{CLASSES, TextData, TextExample};
use learn::{Encoded, Prepared, TextLearner};
use split::{Split, held_out, split};

use super::calibrate::{Truth, calibrate, calibrated};
use super::evaluate::Evaluation;
use super::learn::run_epochs;
use super::{Epoch, Run, TrainError, TrainOptions, TrainingWatcher, profile, stage};
use crate::model::{ComputeError, Probabilities};
use crate::repository::{
    Calibration, Manifest, Metrics, ReferenceProfile, TEXT_FEATURES, TextInput,
};
use crate::text::UNKNOWN;

/// One review in this many goes to the validation part.
const PARTS: u64 = 5;

/// How well models of one kind do on reviews that they were not trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossValidation {
    /// Accuracy of each fold.
    pub folds: Vec<f64>,
    /// Over all examples, each of which is held out once.
    pub accuracy: f64,
    /// The same of models that always answer their training part's most frequent class.
    pub majority_baseline: f64,
    /// Examples.
    pub rows: usize,
}

/// Trains a model per fold, without spans and without a version.
pub fn cross_validate(
    options: &TrainOptions,
    folds: u64,
    mut on_fold: impl FnMut(f64),
) -> Result<CrossValidation, TrainError> {
    let data = TextData::read(&options.data)?;
    let vectors = options.encoder.as_deref();
    let vectors = vectors.map(|folder| encoder::Vectors::of_folder(folder, &data.examples));
    let vectors = vectors.transpose()?;
    let (mut right, mut majority) = (0.0, 0.0);
    let mut accuracies = Vec::new();
    for fold in 0..folds {
        let split = checked(&data, fold, folds, options.seed)?;
        let accuracy = match &vectors {
            Some(vectors) => encoder::fold_accuracy(&split, vectors, options),
            None => fold_accuracy(&split, options),
        };
        let accuracy = accuracy.map_err(TrainError::Compute)?;
        let baseline = majority_baseline(&split);
        right += accuracy * split.validation.len() as f64;
        majority += baseline * split.validation.len() as f64;
        on_fold(accuracy);
        accuracies.push(accuracy);
    }
    let rows = data.examples.len();
    Ok(CrossValidation {
        folds: accuracies,
        accuracy: right / rows as f64,
        majority_baseline: majority / rows as f64,
        rows,
    })
}

pub(super) fn train(
    run: &Run<'_>,
    watcher: &mut dyn TrainingWatcher,
) -> Result<Manifest, TrainError> {
    let options = run.options;
    let data = stage("load_data", || TextData::read(&options.data))?;
    if let Some(folder) = &options.encoder {
        return encoder::train(run, &data, folder, watcher);
    }
    let split = checked(&data, 0, PARTS, options.seed)?;
    let prepared = stage("prepare_texts", || {
        Prepared::of(&split.training).map_err(TrainError::Compute)
    })?;
    let learner = run.watch(watcher, &options.hyperparameters, |on_epoch| {
        learn(&prepared, options, on_epoch).map_err(TrainError::Compute)
    })?;
    let neutral = held_out(&data.neutral, 0, PARTS, options.seed);
    let Evaluation {
        metrics,
        reference,
        calibration,
    } = stage("evaluate_model", || {
        evaluate(run, &prepared, &learner, &split, &neutral).map_err(TrainError::Compute)
    })?;
    stage("save_model", || {
        let weights = learner.fit.weights().map_err(TrainError::Compute)?;
        let rows = data.examples.len();
        let manifest = Manifest {
            text: Some(TextInput {
                tokenizer_sha256: String::new(),
                tokens: prepared.tokenizer.tokens(),
                pairs: prepared.features.pairs().len(),
                encoder: None,
            }),
            classes: CLASSES.map(str::to_owned).to_vec(),
            calibration,
            ..run.manifest(
                rows,
                data.sha256.clone(),
                &options.hyperparameters,
                metrics,
                reference,
            )
        };
        run.write(manifest, &weights, Some(&prepared.tokenizer_json))
    })
}

/// The split, if both parts are there and there is something to tell apart.
fn checked(data: &TextData, fold: u64, folds: u64, seed: u64) -> Result<Split<'_>, TrainError> {
    let split = split(&data.examples, fold, folds, seed);
    if split.training.is_empty() || split.validation.is_empty() {
        let rows = data.examples.len();
        return Err(TrainError::TooFew { rows });
    }
    let positive = share(&split.training, 1);
    if positive > 0.0 && positive < 1.0 {
        Ok(split)
    } else {
        Err(TrainError::OneClass)
    }
}

fn learn<'a>(
    prepared: &'a Prepared,
    options: &TrainOptions,
    on_epoch: impl FnMut(Epoch),
) -> Result<TextLearner<'a>, ComputeError> {
    let hyperparameters = &options.hyperparameters;
    let mut learner = prepared.learner(hyperparameters, options.seed)?;
    let examples = prepared.training.classes.len();
    run_epochs(
        &mut learner,
        examples,
        hyperparameters,
        options.seed,
        on_epoch,
    )?;
    Ok(learner)
}

/// Accuracy on the validation part.
fn fold_accuracy(split: &Split<'_>, options: &TrainOptions) -> Result<f64, ComputeError> {
    let prepared = Prepared::of(&split.training)?;
    let learner = learn(&prepared, options, |_| {})?;
    let validation = prepared.encode(&split.validation)?;
    let probabilities = validation.predict(&learner.fit.model()?)?;
    Ok(validation.accuracy_of(&probabilities))
}

fn evaluate(
    run: &Run<'_>,
    prepared: &Prepared,
    learner: &TextLearner<'_>,
    split: &Split<'_>,
    neutral: &[&TextExample],
) -> Result<Evaluation, ComputeError> {
    let model = learner.fit.model()?;
    let training = &prepared.training;
    let validation = prepared.encode(&split.validation)?;
    let probabilities = validation.predict(&model)?;
    let metrics = Metrics {
        training_accuracy: Some(training.accuracy_of(&training.predict(&model)?)),
        validation_accuracy: Some(validation.accuracy_of(&probabilities)),
        majority_baseline: Some(majority_baseline(split)),
        training_rows: split.training.len(),
        validation_rows: split.validation.len(),
        ..Metrics::default()
    };
    run.record_accuracy(&metrics);
    let unclear = prepared.encode(neutral)?.predict(&model)?;
    let calibration = calibration(&probabilities, &split.validation, &unclear, neutral);
    let probabilities = calibrated(probabilities, calibration.as_ref());
    Ok(Evaluation {
        metrics,
        reference: reference(&validation, &probabilities),
        calibration,
    })
}

/// A calibration for reviews as they come, of which a fifth of the snippets is neither positive nor
/// negative: on the held-out ones of both kinds.
fn calibration(
    clear: &Probabilities,
    clear_examples: &[&TextExample],
    neutral: &Probabilities,
    neutral_examples: &[&TextExample],
) -> Option<Calibration> {
    let examples = clear_examples.iter().chain(neutral_examples);
    let truths: Vec<Truth> = examples
        .map(|example| Truth::Share(example.positive))
        .collect();
    calibrate(&clear.clone().followed_by(neutral), &truths)
}

fn reference(validation: &Encoded, probabilities: &Probabilities) -> ReferenceProfile {
    let texts = validation.tokens.iter().map(|tokens| {
        let unknown = tokens.iter().filter(|token| **token == UNKNOWN);
        (tokens.len(), unknown.count())
    });
    text_reference(texts, probabilities)
}

/// The profile of texts by how many tokens each has, and how many of them are unknown.
fn text_reference(
    texts: impl Iterator<Item = (usize, usize)> + Clone,
    probabilities: &Probabilities,
) -> ReferenceProfile {
    let texts = texts.filter(|(tokens, _)| *tokens > 0);
    let lengths = texts.clone().map(|(tokens, _)| tokens as f64);
    let unknown = texts.map(|(tokens, unknown)| unknown as f64 / tokens as f64);
    let [tokens, unknown_share] = TEXT_FEATURES;
    let features = vec![
        profile::profile(tokens, lengths.collect()),
        profile::profile(unknown_share, unknown.collect()),
    ];
    profile::with_predictions(features, probabilities, CLASSES.len())
}

/// Accuracy on the validation part of a model that always answers the training part's most frequent
/// class.
fn majority_baseline(split: &Split<'_>) -> f64 {
    let majority = u32::from(share(&split.training, 1) >= 0.5);
    share(&split.validation, majority)
}

fn share(examples: &[&TextExample], class: u32) -> f64 {
    let of_class = examples.iter().filter(|example| example.class == class);
    of_class.count() as f64 / examples.len().max(1) as f64
}

#[cfg(test)]
mod tests;
