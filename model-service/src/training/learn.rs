//! The training loop: shuffled mini batches and a learning rate that falls to zero.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use super::data::{CLASSES, Example, FEATURES};
use crate::candle::{Fit, FitOptions, Mlp, Step};
use crate::model::{ComputeError, Rows, most_likely};
use crate::repository::{Hyperparameters, Normalisation};

/// Progress after one pass over the training part.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    /// Counted from 1.
    pub number: usize,
    pub of: usize,
    /// Mean cross entropy over the epoch's batches, nats.
    pub loss: f64,
    /// Mean over the epoch's batches.
    pub gradient_norm: f64,
    /// Share of the training part that the model classifies correctly after the epoch.
    pub accuracy: f64,
}

/// A network with its examples, which are known by their index.
pub(crate) trait Learner {
    fn set_learning_rate(&mut self, learning_rate: f64);

    /// One step on a mini batch.
    fn step(&mut self, examples: &[usize]) -> Result<Step, ComputeError>;

    /// Share of the examples that are classified correctly now.
    fn accuracy(&self) -> Result<f64, ComputeError>;
}

/// Trains the learner on its `examples`, and calls `on_epoch` after every epoch.
pub(crate) fn run_epochs(
    learner: &mut impl Learner,
    examples: usize,
    hyperparameters: &Hyperparameters,
    seed: u64,
    mut on_epoch: impl FnMut(Epoch),
) -> Result<(), ComputeError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(1);
    let mut order: Vec<usize> = (0..examples).collect();
    let epochs = hyperparameters.epochs;
    for number in 1..=epochs {
        let done = (number - 1) as f64 / epochs as f64;
        let decay = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        learner.set_learning_rate(hyperparameters.learning_rate * decay);
        order.shuffle(&mut random);
        let (mut loss, mut gradient_norm, mut batches) = (0.0, 0.0, 0.0);
        for batch in order.chunks(hyperparameters.batch_size.max(1)) {
            let step = learner.step(batch)?;
            loss += step.loss;
            gradient_norm += step.gradient_norm;
            batches += 1.0;
        }
        on_epoch(Epoch {
            number,
            of: epochs,
            loss: loss / batches,
            gradient_norm: gradient_norm / batches,
            accuracy: learner.accuracy()?,
        });
    }
    Ok(())
}

struct TableLearner<'a> {
    fit: Fit,
    examples: &'a [Example],
    normalisation: &'a Normalisation,
}

impl Learner for TableLearner<'_> {
    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.fit.set_learning_rate(learning_rate);
    }

    fn step(&mut self, examples: &[usize]) -> Result<Step, ComputeError> {
        let batch = examples.iter().map(|index| &self.examples[*index]);
        let classes: Vec<u32> = batch.clone().map(|example| example.class).collect();
        self.fit.step(&rows(batch, self.normalisation), &classes)
    }

    fn accuracy(&self) -> Result<f64, ComputeError> {
        accuracy(&self.fit.model()?, self.examples, self.normalisation)
    }
}

/// Learns from `examples` and calls `on_epoch` after every epoch.
pub(crate) fn learn(
    examples: &[Example],
    normalisation: &Normalisation,
    hyperparameters: &Hyperparameters,
    seed: u64,
    on_epoch: impl FnMut(Epoch),
) -> Result<Fit, ComputeError> {
    let fit = Fit::new(&FitOptions {
        widths: hyperparameters.widths(FEATURES.len(), CLASSES.len()),
        learning_rate: hyperparameters.learning_rate,
        weight_decay: hyperparameters.weight_decay,
        seed,
    })?;
    let mut learner = TableLearner {
        fit,
        examples,
        normalisation,
    };
    run_epochs(
        &mut learner,
        examples.len(),
        hyperparameters,
        seed,
        on_epoch,
    )?;
    Ok(learner.fit)
}

/// The examples as the model takes them: normalised, row-major.
pub(crate) fn rows<'a>(
    examples: impl Iterator<Item = &'a Example>,
    normalisation: &Normalisation,
) -> Rows {
    let values = examples.flat_map(|example| example.features).collect();
    let mut rows = Rows::new(values, FEATURES.len())
        .expect("an example has as many values as there are features");
    normalisation.apply(&mut rows);
    rows
}

/// Share of the examples whose class is the most likely one.
pub(crate) fn accuracy(
    model: &Mlp,
    examples: &[Example],
    normalisation: &Normalisation,
) -> Result<f64, ComputeError> {
    let probabilities = model.probabilities_untraced(&rows(examples.iter(), normalisation))?;
    if !probabilities.is_complete() {
        return Err(ComputeError::NotFinite);
    }
    let right = probabilities.rows().zip(examples);
    let right = right.filter(|(row, example)| most_likely(row).0 == example.class as usize);
    Ok(right.count() as f64 / examples.len().max(1) as f64)
}
