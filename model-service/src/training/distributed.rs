//! Training on an engine that is made for several processes: what the ranks get, and what comes
//! back.
//!
//! This crate makes the split, the start weights and the order of the rows, and evaluates and saves
//! the result, as it does for its own learning. In between somebody else, behind [`Ranks`], makes the
//! steps.

use serde::Serialize;

use super::error::{RanksError, TrainError};
use super::learn::{Epoch, Orders, Prepared, learning_rate, span_every};
use super::options::TrainOptions;
use super::split::split;
use super::{PARTS, data, evaluate};
use crate::candle::{Fit, training_tensors};
use crate::model::ComputeError;
use crate::repository::Hyperparameters;

/// The processes that learn together.
pub trait Ranks {
    fn count(&self) -> usize;

    /// Learns as planned and calls `on_epoch` after every epoch. Returns the weights as a safetensors
    /// file with the names of the plan's start weights.
    fn learn(
        &mut self,
        plan: &Plan,
        on_epoch: &mut dyn FnMut(Epoch),
    ) -> Result<Vec<u8>, RanksError>;
}

/// What every rank needs to know.
#[derive(Clone, Debug)]
pub struct Plan {
    /// A safetensors file: `inputs` \[rows, features\], `classes` \[rows\], `order` \[epochs, rows\],
    /// and the start weights `linear_<n>.weight` and `linear_<n>.bias`.
    pub tensors: Vec<u8>,
    pub fields: PlanFields,
}

/// The numbers of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct PlanFields {
    /// Of each epoch.
    pub learning_rates: Vec<f64>,
    pub weight_decay: f64,
    pub batch_size: usize,
    /// An epoch has a span if its number can be divided by this.
    pub span_every: usize,
}

/// The plan of a training of `wine_quality`, for a rank whose trainer is another process. Equal
/// options and data give an equal plan.
pub fn plan(options: &TrainOptions) -> Result<Plan, TrainError> {
    let table = data::read_wines(&options.data)?;
    let split = split(&table.examples, PARTS, options.seed);
    evaluate::check_split(&table, &split)?;
    let prepared = Prepared::of(&table, &split)?;
    plan_of(&prepared, &options.hyperparameters, options.seed)
        .map(|(plan, _)| plan)
        .map_err(TrainError::Compute)
}

/// Lets the ranks learn; returns the network with their weights.
pub(super) fn learn_on(
    ranks: &mut dyn Ranks,
    prepared: &Prepared,
    hyperparameters: &Hyperparameters,
    seed: u64,
    on_epoch: &mut dyn FnMut(Epoch),
) -> Result<Fit, TrainError> {
    let (plan, start) = plan_of(prepared, hyperparameters, seed).map_err(TrainError::Compute)?;
    let weights = ranks.learn(&plan, on_epoch).map_err(TrainError::Ranks)?;
    start.with_weights(&weights).map_err(TrainError::Compute)
}

fn plan_of(
    prepared: &Prepared,
    hyperparameters: &Hyperparameters,
    seed: u64,
) -> Result<(Plan, Fit), ComputeError> {
    let training = &prepared.training;
    let start = Fit::new(&training.options(prepared.outputs, hyperparameters, seed))?;
    let (classes, epochs) = (training.classes(), hyperparameters.epochs);
    let mut orders = Orders::new(classes.len(), seed);
    let mut order = Vec::with_capacity(classes.len() * epochs);
    for _ in 0..epochs {
        let rows = orders.next().iter();
        order.extend(rows.map(|row| u32::try_from(*row).unwrap_or(u32::MAX)));
    }
    let plan = Plan {
        tensors: training_tensors(training.rows(), &classes, &order, &start)?,
        fields: PlanFields {
            learning_rates: (1..=epochs)
                .map(|epoch| learning_rate(hyperparameters, epoch))
                .collect(),
            weight_decay: hyperparameters.weight_decay,
            batch_size: hyperparameters.batch_size.max(1),
            span_every: span_every(epochs),
        },
    };
    Ok((plan, start))
}
