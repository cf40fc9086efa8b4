//! Training of the bag of words: the embeddings before the layers that [`Fit`] trains.

use candle_core::{Result, Var};
use candle_nn::{AdamW, Optimizer};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::embedding_bag::EmbeddingBag;
use super::fit::{
    Fit, FitOptions, NamedTensor, Step, Targets, optimizer, serialize, squares, start_layer,
};
use super::mlp::compute;
use super::text_bag::{BIAS, EMBEDDINGS, IDF, PAIRS, TextBag};
use crate::model::ComputeError;
use crate::text::{BagFeatures, Bags};

/// Start values lie within this. One text has few of the many features, so the rule of the other
/// layers, which counts the inputs, would begin far too close to 0.
const START: f32 = 0.05;

/// A bag of words in training.
pub(crate) struct TextFit {
    features: BagFeatures,
    /// Embeddings and bias.
    bag: [(Var, Var); 1],
    optimizer: AdamW,
    head: Fit,
}

impl TextFit {
    /// The widths of `options` begin with that of an embedding.
    pub(crate) fn new(
        features: BagFeatures,
        options: &FitOptions,
    ) -> std::result::Result<Self, ComputeError> {
        let mut random = ChaCha8Rng::seed_from_u64(options.seed);
        random.set_stream(2);
        let width = options.widths.first().copied().unwrap_or(1);
        let bag = start_layer(features.len(), width, START, &mut random);
        let bag = [bag.map_err(compute)?];
        Ok(Self {
            features,
            optimizer: optimizer(&bag, options).map_err(compute)?,
            bag,
            head: Fit::new(options)?,
        })
    }

    pub(crate) fn set_learning_rate(&mut self, learning_rate: f64) {
        self.optimizer.set_learning_rate(learning_rate);
        self.head.set_learning_rate(learning_rate);
    }

    /// One step of `AdamW` on the mean cross entropy of a mini batch.
    pub(crate) fn step(
        &mut self,
        bags: Bags,
        targets: &Targets,
    ) -> std::result::Result<Step, ComputeError> {
        self.try_step(bags, targets).map_err(compute)
    }

    /// The model as it is now. It shares the weights, so it changes with the next step.
    pub(crate) fn model(&self) -> std::result::Result<TextBag, ComputeError> {
        let [(embeddings, bias)] = &self.bag;
        Ok(TextBag::new(
            self.features.clone(),
            embeddings.as_detached_tensor(),
            bias.as_detached_tensor(),
            self.head.model()?,
        ))
    }

    /// The weights as a safetensors file; equal weights give equal bytes.
    pub(crate) fn weights(&self) -> std::result::Result<Vec<u8>, ComputeError> {
        let [(embeddings, bias)] = &self.bag;
        let (idf, pairs) = (self.features.idf(), self.features.pairs());
        let name = str::to_owned;
        let mut tensors = vec![
            NamedTensor::of(name(EMBEDDINGS), embeddings)?,
            NamedTensor::of(name(BIAS), bias)?,
            NamedTensor::numbers(name(IDF), vec![idf.len()], idf),
            NamedTensor::indices(name(PAIRS), vec![pairs.len(), 2], pairs.as_flattened()),
        ];
        tensors.extend(self.head.tensors()?);
        serialize(&tensors)
    }

    fn try_step(&mut self, bags: Bags, targets: &Targets) -> Result<Step> {
        let [(embeddings, bias)] = &self.bag;
        let x = EmbeddingBag { bags }.tracked(embeddings, bias)?.relu()?;
        let (step, gradients) = self.head.learn(x, targets)?;
        let squares = squares(&self.bag, &gradients)?;
        self.optimizer.step(&gradients)?;
        Ok(Step {
            gradient_norm: (step.gradient_norm.powi(2) + squares).sqrt(),
            ..step
        })
    }
}
