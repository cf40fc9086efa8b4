//! The layer on an encoder: learnt from the vectors of the same texts, which stay as they are.

use std::path::Path;

use super::data::{CLASSES, TextData, TextExample};
use super::{PARTS, calibration, checked, majority_baseline, text_reference};
use crate::candle::{EncoderHead, Fit, Mlp, joined};
use crate::embedder::{Embedder, EncoderFiles};
use crate::model::{ComputeError, Probabilities, Rows};
use crate::repository::{EncoderInput, Manifest, Metrics, TextInput};
use crate::training::calibrate::calibrated;
use crate::training::evaluate::Evaluation;
use crate::training::learn::Encoded;
use crate::training::table::Target;
use crate::training::text::split::{Split, held_out};
use crate::training::{Epoch, Run, TrainError, TrainOptions, TrainingWatcher, stage};

/// Texts that are computed at once.
const BATCH: usize = 64;

/// The vectors of all examples of a data set.
pub(super) struct Vectors<'a> {
    width: usize,
    values: Vec<f32>,
    /// How many tokens each text has, and how many of them are unknown.
    counts: Vec<(usize, usize)>,
    examples: &'a [TextExample],
}

/// The vectors of a part of them, with their classes.
struct Part {
    encoded: Encoded,
    counts: Vec<(usize, usize)>,
}

/// Trains the layer and writes it with the encoder as a new version.
pub(super) fn train(
    run: &Run<'_>,
    data: &TextData,
    folder: &Path,
    watcher: &mut dyn TrainingWatcher,
) -> Result<Manifest, TrainError> {
    let options = run.options;
    let split = checked(data, 0, PARTS, options.seed)?;
    let files = EncoderFiles::read(folder).map_err(TrainError::Encoder)?;
    let embedder = Embedder::new(&files).map_err(TrainError::Encoder)?;
    let vectors = stage("prepare_texts", || {
        Vectors::of(&embedder, &data.examples).map_err(TrainError::Compute)
    })?;
    let training = vectors.part(&split.training).map_err(TrainError::Compute)?;
    let fit = run.watch(watcher, &options.hyperparameters, |on_epoch| {
        learn(&training, options, on_epoch).map_err(TrainError::Compute)
    })?;
    let neutral: Vec<TextExample> = held_out(&data.neutral, 0, PARTS, options.seed)
        .into_iter()
        .cloned()
        .collect();
    let Evaluation {
        metrics,
        reference,
        calibration,
    } = stage("evaluate_model", || {
        let validation = vectors
            .part(&split.validation)
            .map_err(TrainError::Compute)?;
        let model = fit.model().map_err(TrainError::Compute)?;
        let probabilities = validation
            .encoded
            .predict(&model)
            .map_err(TrainError::Compute)?;
        let trained = training
            .encoded
            .predict(&model)
            .map_err(TrainError::Compute)?;
        let metrics = Metrics {
            training_accuracy: Some(training.encoded.accuracy_of(&trained)),
            validation_accuracy: Some(validation.encoded.accuracy_of(&probabilities)),
            majority_baseline: Some(majority_baseline(&split)),
            training_rows: split.training.len(),
            validation_rows: split.validation.len(),
            ..Metrics::default()
        };
        run.record_accuracy(&metrics);
        let unclear = predictions(&embedder, &neutral, &model).map_err(TrainError::Compute)?;
        let neutral: Vec<&TextExample> = neutral.iter().collect();
        let calibration = calibration(&probabilities, &split.validation, &unclear, &neutral);
        let probabilities = calibrated(probabilities, calibration.as_ref());
        let counts = validation.counts.iter().copied();
        Ok(Evaluation {
            metrics,
            reference: text_reference(counts, &probabilities),
            calibration,
        })
    })?;
    stage("save_model", || {
        let head = fit.weights().map_err(TrainError::Compute)?;
        let weights = joined(&files.weights, &head).map_err(TrainError::Compute)?;
        let (rows, sha256) = (data.examples.len(), data.sha256.clone());
        let manifest = Manifest {
            text: Some(TextInput {
                tokenizer_sha256: String::new(),
                tokens: embedder.vocabulary(),
                pairs: 0,
                encoder: Some(EncoderInput {
                    config: files.config.clone(),
                    max_tokens: files.max_tokens,
                    head: EncoderHead::Layers,
                }),
            }),
            classes: CLASSES.map(str::to_owned).to_vec(),
            calibration,
            ..run.manifest(rows, sha256, &options.hyperparameters, metrics, reference)
        };
        run.write(manifest, &weights, Some(&files.tokenizer))
    })
}

/// What the layer says of other texts.
fn predictions(
    embedder: &Embedder,
    examples: &[TextExample],
    model: &Mlp,
) -> Result<Probabilities, ComputeError> {
    let vectors = Vectors::of(embedder, examples)?;
    let part = vectors.part(&examples.iter().collect::<Vec<_>>())?;
    part.encoded.predict(model)
}

/// Accuracy on the validation part of a layer that is trained on the training part.
pub(super) fn fold_accuracy(
    split: &Split<'_>,
    vectors: &Vectors<'_>,
    options: &TrainOptions,
) -> Result<f64, ComputeError> {
    let fit = learn(&vectors.part(&split.training)?, options, |_| {})?;
    let validation = vectors.part(&split.validation)?;
    let probabilities = validation.encoded.predict(&fit.model()?)?;
    Ok(validation.encoded.accuracy_of(&probabilities))
}

fn learn(
    part: &Part,
    options: &TrainOptions,
    on_epoch: impl FnMut(Epoch),
) -> Result<Fit, ComputeError> {
    let hyperparameters = &options.hyperparameters;
    part.encoded
        .learn(CLASSES.len(), None, hyperparameters, options.seed, on_epoch)
}

impl<'a> Vectors<'a> {
    pub(super) fn of_folder(
        folder: &Path,
        examples: &'a [TextExample],
    ) -> Result<Self, TrainError> {
        let embedder = Embedder::of_folder(folder).map_err(TrainError::Encoder)?;
        Self::of(&embedder, examples).map_err(TrainError::Compute)
    }

    fn of(embedder: &Embedder, examples: &'a [TextExample]) -> Result<Self, ComputeError> {
        let mut values = Vec::with_capacity(examples.len() * embedder.width());
        let mut counts = Vec::with_capacity(examples.len());
        for batch in examples.chunks(BATCH) {
            let texts: Vec<&str> = batch.iter().map(|example| &*example.text).collect();
            let tokens = embedder.tokens(&texts)?;
            counts.extend(tokens.texts().map(|ids| embedder.counts(ids)));
            values.extend(embedder.embed_untraced(&tokens)?);
        }
        Ok(Self {
            width: embedder.width(),
            values,
            counts,
            examples,
        })
    }

    fn part(&self, examples: &[&TextExample]) -> Result<Part, ComputeError> {
        let mut values = Vec::with_capacity(examples.len() * self.width);
        let (mut targets, mut counts) = (Vec::new(), Vec::new());
        let all = self
            .examples
            .iter()
            .zip(self.values.chunks_exact(self.width));
        let mut wanted = examples.iter().peekable();
        // A part has its examples in the order of the data set.
        for ((example, vector), count) in all.zip(&self.counts) {
            if wanted
                .next_if(|wanted| std::ptr::eq(**wanted, example))
                .is_some()
            {
                values.extend_from_slice(vector);
                targets.push(Target::Class(example.class));
                counts.push(*count);
            }
        }
        let rows = Rows::new(values, self.width).ok_or(ComputeError::Input)?;
        Ok(Part {
            encoded: Encoded::new(rows, targets),
            counts,
        })
    }
}
