//! The bag of words: an embedding bag of words and word pairs, `ReLU`, and a perceptron.

use candle_core::{Device, Tensor};
use telemetry::Span;

use super::dense::mark_overflows;
use super::embedding_bag::EmbeddingBag;
use super::mlp::{Mlp, compute, read_tensor};
use crate::model::{Batch, ComputeError, Model, Probabilities};
use crate::text::{BagFeatures, Bags};

/// A trained bag of words, read from `embedding_bag.{weight, bias, idf, pairs}` and `linear_<n>`.
#[derive(Debug)]
pub(crate) struct TextBag {
    features: BagFeatures,
    /// \[features, width\]
    embeddings: Tensor,
    bias: Tensor,
    head: Mlp,
}

/// The names in the weights file.
pub(super) const EMBEDDINGS: &str = "embedding_bag.weight";
pub(super) const BIAS: &str = "embedding_bag.bias";
pub(super) const IDF: &str = "embedding_bag.idf";
pub(super) const PAIRS: &str = "embedding_bag.pairs";

impl TextBag {
    /// Reads the weights; `widths` are the number of features, the width of an embedding, and the
    /// values after each further layer. A tensor that does not fit is an error.
    pub(crate) fn from_safetensors(
        weights: &[u8],
        tokens: usize,
        widths: &[usize],
    ) -> Result<Self, ComputeError> {
        let [features, width, ..] = *widths else {
            return Err(ComputeError::tensor(
                EMBEDDINGS,
                "has no row for each token",
            ));
        };
        let tensors = candle_core::safetensors::load_buffer(weights, &Device::Cpu)
            .map_err(|error| ComputeError::Weights(error.into()))?;
        let embeddings = read_tensor(&tensors, EMBEDDINGS, &[features, width])?;
        let bias = read_tensor(&tensors, BIAS, &[width])?;
        let idf = read_tensor(&tensors, IDF, &[features])?;
        let pairs = || {
            let pairs = tensors.get(PAIRS)?.to_vec2::<u32>().ok()?;
            let pairs: Option<Vec<[u32; 2]>> =
                pairs.into_iter().map(|pair| pair.try_into().ok()).collect();
            BagFeatures::new(tokens, pairs?, idf.to_vec1().ok()?)
        };
        let features =
            pairs().ok_or_else(|| ComputeError::tensor(PAIRS, "holds pairs of no tokens"))?;
        let head = Mlp::from_tensors(&tensors, &widths[1..])?;
        Ok(Self::new(features, embeddings, bias, head))
    }

    pub(super) fn new(features: BagFeatures, embeddings: Tensor, bias: Tensor, head: Mlp) -> Self {
        Self {
            features,
            embeddings,
            bias,
            head,
        }
    }

    /// The probabilities without spans, for trainings.
    pub(crate) fn probabilities_untraced(&self, bags: Bags) -> Result<Probabilities, ComputeError> {
        let mut computable = vec![true; bags.len()];
        let x = self.embed(bags, &mut computable)?;
        self.head.forward_untraced(x, computable)
    }

    fn embed(&self, bags: Bags, computable: &mut [bool]) -> Result<Tensor, ComputeError> {
        let y = EmbeddingBag { bags }.plain(&self.embeddings, &self.bias);
        let y = y.map_err(compute)?;
        mark_overflows(&y, computable).map_err(compute)?;
        y.relu().map_err(compute)
    }
}

impl Model for TextBag {
    fn probabilities(&self, batch: &Batch) -> Result<Probabilities, ComputeError> {
        let Batch::Tokens(tokens) = batch else {
            return Err(ComputeError::Input);
        };
        let mut computable = vec![true; tokens.len()];
        let embedded = {
            let _span = Span::start("layer embedding_bag", Vec::new());
            let bags = self.features.bags(tokens.texts());
            self.embed(bags, &mut computable)?
        };
        self.head.forward_traced(embedded, computable)
    }
}
