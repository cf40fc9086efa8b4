//! The training loop: shuffled mini batches and a learning rate that falls to zero.

use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use telemetry::{Span, attr};

use super::calibrate::Truth;
use super::split::Split;
use super::table::{Example, Outcome, Table, Target};
use super::{TrainError, profile};
use crate::candle::{Fit, FitOptions, Mlp, Step, Targets};
use crate::model::{ComputeError, Probabilities, Rows, most_likely};
use crate::repository::{Hyperparameters, Normalisation, Regression};

/// Progress after one pass over the training part.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    /// Counted from 1.
    pub number: usize,
    pub of: usize,
    /// Mean loss over the epoch's batches: cross entropy in nats, or of a regression the squared
    /// error in deviations of the target.
    pub loss: f64,
    /// Mean over the epoch's batches.
    pub gradient_norm: f64,
    /// Share of the training part that the model classifies correctly after the epoch.
    pub accuracy: Option<f64>,
    /// Rows of the training part that were read per second.
    pub rows_per_second: f64,
}

/// The most spans `epoch` of one training; longer ones have a span for every second epoch, every
/// third, and so on. The SDK's queue holds 2,048 spans.
const MAX_SPANS: usize = 500;

/// A network with its examples, which are known by their index.
pub(crate) trait Learner {
    fn set_learning_rate(&mut self, learning_rate: f64);

    /// One step on a mini batch.
    fn step(&mut self, examples: &[usize]) -> Result<Step, ComputeError>;

    /// Share of the examples that are classified correctly now; `None` for a regression.
    fn accuracy(&self) -> Result<Option<f64>, ComputeError>;
}

/// Trains the learner on its `examples`, with a span for each epoch, and calls `on_epoch` after it.
pub(crate) fn run_epochs(
    learner: &mut impl Learner,
    examples: usize,
    hyperparameters: &Hyperparameters,
    seed: u64,
    mut on_epoch: impl FnMut(Epoch),
) -> Result<(), ComputeError> {
    let mut orders = Orders::new(examples, seed);
    let epochs = hyperparameters.epochs;
    let every = span_every(epochs);
    for number in 1..=epochs {
        learner.set_learning_rate(learning_rate(hyperparameters, number));
        let has_span = number.is_multiple_of(every);
        let span = has_span.then(|| Span::start("epoch", Vec::new()));
        let epoch = one_epoch(learner, orders.next(), hyperparameters.batch_size)?;
        let epoch = Epoch {
            number,
            of: epochs,
            ..epoch
        };
        if let Some(span) = span {
            describe(&span, &epoch);
        }
        on_epoch(epoch);
    }
    Ok(())
}

/// An epoch has a span if its number can be divided by this.
pub(super) fn span_every(epochs: usize) -> usize {
    epochs.div_ceil(MAX_SPANS).max(1)
}

/// The learning rate of an epoch, counted from 1.
pub(super) fn learning_rate(hyperparameters: &Hyperparameters, epoch: usize) -> f64 {
    let done = (epoch - 1) as f64 / hyperparameters.epochs as f64;
    hyperparameters.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
}

/// The order of the examples in one epoch after the other.
pub(super) struct Orders {
    random: ChaCha8Rng,
    order: Vec<usize>,
}

impl Orders {
    pub(super) fn new(examples: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(1);
        Self {
            random,
            order: (0..examples).collect(),
        }
    }

    /// The order of the next epoch.
    pub(super) fn next(&mut self) -> &[usize] {
        self.order.shuffle(&mut self.random);
        &self.order
    }
}

fn one_epoch(
    learner: &mut impl Learner,
    order: &[usize],
    batch_size: usize,
) -> Result<Epoch, ComputeError> {
    let begin = Instant::now();
    let (mut loss, mut gradient_norm, mut batches) = (0.0, 0.0, 0.0);
    for batch in order.chunks(batch_size.max(1)) {
        let step = learner.step(batch)?;
        loss += step.loss;
        gradient_norm += step.gradient_norm;
        batches += 1.0;
    }
    let seconds = begin.elapsed().as_secs_f64().max(1e-9);
    Ok(Epoch {
        number: 0,
        of: 0,
        loss: loss / batches,
        gradient_norm: gradient_norm / batches,
        accuracy: learner.accuracy()?,
        rows_per_second: order.len() as f64 / seconds,
    })
}

fn describe(span: &Span, epoch: &Epoch) {
    let number = i64::try_from(epoch.number).unwrap_or(i64::MAX);
    span.set(attr::ML_TRAINING_EPOCH, number);
    span.set(attr::metric::ML_TRAINING_LOSS, epoch.loss);
    span.set(attr::metric::ML_TRAINING_GRADIENT_NORM, epoch.gradient_norm);
    span.set(attr::ML_TRAINING_ROWS_PER_SECOND, epoch.rows_per_second);
    if let Some(accuracy) = epoch.accuracy {
        span.set(attr::ML_TRAINING_ACCURACY, accuracy);
    }
}

/// The two parts of a table as the network takes them.
pub(crate) struct Prepared {
    pub(crate) normalisation: Normalisation,
    pub(crate) regression: Option<Regression>,
    pub(crate) training: Encoded,
    pub(crate) validation: Encoded,
    pub(super) outputs: usize,
}

/// Examples as inputs of the network, with what they should become.
pub(crate) struct Encoded {
    inputs: Rows,
    targets: Vec<Target>,
}

struct TableLearner<'a> {
    fit: Fit,
    examples: &'a Encoded,
    regression: Option<&'a Regression>,
}

impl Prepared {
    pub(crate) fn of(table: &Table, split: &Split) -> Result<Self, TrainError> {
        let normalisation = profile::normalisation(table, &split.training);
        let regression = match &table.outcome {
            Outcome::Number(target) => Some(scale(target, &split.training)?),
            Outcome::Classes(_) => None,
        };
        let encode = |examples: &[Example]| {
            let values = examples.iter().flat_map(|example| &example.features);
            let inputs = table
                .encoding()
                .inputs(values.copied().collect(), &normalisation);
            Encoded {
                inputs: inputs.expect("an example has as many values as there are features"),
                targets: examples.iter().map(|example| example.target).collect(),
            }
        };
        let (training, validation) = (encode(&split.training), encode(&split.validation));
        Ok(Self {
            outputs: table.classes().len().max(1),
            normalisation,
            regression,
            training,
            validation,
        })
    }

    /// Learns from the training part and calls `on_epoch` after every epoch.
    pub(crate) fn learn(
        &self,
        hyperparameters: &Hyperparameters,
        seed: u64,
        on_epoch: impl FnMut(Epoch),
    ) -> Result<Fit, ComputeError> {
        let scale = self.regression.as_ref();
        self.training
            .learn(self.outputs, scale, hyperparameters, seed, on_epoch)
    }
}

/// Mean and deviation of the target over the training part.
fn scale(target: &str, training: &[Example]) -> Result<Regression, TrainError> {
    let numbers = training
        .iter()
        .map(|example| f64::from(example.target.number()));
    let (mean, std) = profile::moments(&numbers.collect::<Vec<_>>());
    let (mean, std) = (mean as f32, std as f32);
    if !(mean.is_finite() && std.is_normal()) {
        return Err(TrainError::ConstantTarget(target.to_owned()));
    }
    Ok(Regression {
        target: target.to_owned(),
        mean,
        std,
    })
}

impl Encoded {
    pub(crate) fn new(inputs: Rows, targets: Vec<Target>) -> Self {
        Self { inputs, targets }
    }

    /// Trains a network of `outputs` on the rows; `regression` scales targets that are numbers.
    pub(crate) fn learn(
        &self,
        outputs: usize,
        regression: Option<&Regression>,
        hyperparameters: &Hyperparameters,
        seed: u64,
        on_epoch: impl FnMut(Epoch),
    ) -> Result<Fit, ComputeError> {
        let fit = Fit::new(&self.options(outputs, hyperparameters, seed))?;
        let mut learner = TableLearner {
            fit,
            examples: self,
            regression,
        };
        let examples = self.targets.len();
        run_epochs(&mut learner, examples, hyperparameters, seed, on_epoch)?;
        Ok(learner.fit)
    }

    pub(super) fn options(
        &self,
        outputs: usize,
        hyperparameters: &Hyperparameters,
        seed: u64,
    ) -> FitOptions {
        FitOptions {
            widths: hyperparameters.widths(self.inputs.width(), outputs),
            learning_rate: hyperparameters.learning_rate,
            weight_decay: hyperparameters.weight_decay,
            seed,
        }
    }

    pub(super) fn rows(&self) -> &Rows {
        &self.inputs
    }

    pub(super) fn classes(&self) -> Vec<u32> {
        self.targets.iter().map(|target| target.class()).collect()
    }

    /// What the model says of every row.
    pub(crate) fn predict(&self, model: &Mlp) -> Result<Probabilities, ComputeError> {
        let predicted = model.probabilities_untraced(&self.inputs)?;
        if predicted.is_complete() {
            Ok(predicted)
        } else {
            Err(ComputeError::NotFinite)
        }
    }

    /// Share of the rows whose class is the most likely one.
    pub(crate) fn accuracy_of(&self, predicted: &Probabilities) -> f64 {
        let right = predicted.rows().zip(&self.targets);
        let right = right.filter(|(row, target)| {
            let (class, _) = most_likely(row);
            target.is_class(u32::try_from(class).unwrap_or(u32::MAX))
        });
        right.count() as f64 / self.targets.len().max(1) as f64
    }

    /// What is true of every row of a classifier.
    pub(crate) fn truths(&self) -> Vec<Truth> {
        let classes = self.targets.iter().map(|target| target.class());
        classes.map(Truth::Class).collect()
    }

    /// Root of the mean squared error of the numbers.
    pub(crate) fn rmse_of(&self, numbers: &[f64]) -> f64 {
        let errors = self.targets.iter().zip(numbers);
        let squares = errors.map(|(target, number)| (f64::from(target.number()) - number).powi(2));
        (squares.sum::<f64>() / self.targets.len().max(1) as f64).sqrt()
    }
}

impl Learner for TableLearner<'_> {
    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.fit.set_learning_rate(learning_rate);
    }

    fn step(&mut self, examples: &[usize]) -> Result<Step, ComputeError> {
        let (inputs, width) = (self.examples.inputs.values(), self.examples.inputs.width());
        let mut values = Vec::with_capacity(examples.len() * width);
        for index in examples {
            values.extend_from_slice(&inputs[index * width..(index + 1) * width]);
        }
        let rows = Rows::new(values, width).ok_or(ComputeError::Input)?;
        let targets = examples.iter().map(|index| self.examples.targets[*index]);
        let targets = match self.regression {
            Some(scale) => {
                let numbers = targets.map(|target| (target.number() - scale.mean) / scale.std);
                Targets::Numbers(numbers.collect())
            }
            None => Targets::Classes(targets.map(Target::class).collect()),
        };
        self.fit.step(&rows, &targets)
    }

    fn accuracy(&self) -> Result<Option<f64>, ComputeError> {
        if self.regression.is_some() {
            return Ok(None);
        }
        let predicted = self.examples.predict(&self.fit.model()?)?;
        Ok(Some(self.examples.accuracy_of(&predicted)))
    }
}
