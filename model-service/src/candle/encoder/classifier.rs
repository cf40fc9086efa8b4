//! What `BertForSequenceClassification` has after its encoder: the pooler, which takes the first
//! token of a text, and one linear layer.

use candle_core::{Device, Result, Tensor};
use telemetry::Span;

use super::EncoderConfig;
use super::kernels::AddBias;
use super::weights::{Linear, Weights};
use crate::candle::compute;
use crate::candle::dense::mark_overflows;
use crate::model::{ComputeError, Probabilities};

/// From the first token of each text to the probabilities of its classes.
#[derive(Debug)]
pub(in crate::candle) struct Classifier {
    pooler: Linear,
    output: Linear,
    classes: usize,
}

impl Classifier {
    pub(super) fn read(
        encoder: &Weights,
        beside: &Weights,
        config: &EncoderConfig,
        classes: usize,
    ) -> std::result::Result<Self, ComputeError> {
        let hidden = config.hidden_size;
        Ok(Self {
            pooler: encoder.below("pooler").linear("dense", hidden, hidden)?,
            output: beside.linear("classifier", hidden, classes)?,
            classes,
        })
    }

    /// The vectors are those of the first tokens, row-major. A text whose numbers overflow is NaN.
    pub(in crate::candle) fn probabilities(
        &self,
        vectors: Vec<f32>,
    ) -> std::result::Result<Probabilities, ComputeError> {
        let width = self.pooler.bias.len();
        let shape = (vectors.len() / width, width);
        let mut computable = vec![true; shape.0];
        let vectors = Tensor::from_vec(vectors, shape, &Device::Cpu).map_err(compute)?;
        let logits = self.logits(&vectors, &mut computable);
        let logits = logits.and_then(|logits| logits.flatten_all()?.to_vec1());
        let probabilities = Probabilities::from_logits(logits.map_err(compute)?, self.classes);
        Ok(probabilities.without(&computable))
    }

    fn logits(&self, vectors: &Tensor, computable: &mut [bool]) -> Result<Tensor> {
        let span = Span::start("layer pooler", Vec::new());
        let pooled = apply(&self.pooler, vectors)?;
        // The tangent turns an infinity into 1, which looks like a value.
        mark_overflows(&pooled, computable)?;
        let pooled = pooled.tanh()?;
        drop(span);
        let _span = Span::start("layer classifier", Vec::new());
        let logits = apply(&self.output, &pooled)?;
        mark_overflows(&logits, computable)?;
        Ok(logits)
    }
}

fn apply(layer: &Linear, x: &Tensor) -> Result<Tensor> {
    let y = x.matmul(&layer.weight)?;
    y.inplace_op1(&AddBias(&layer.bias))?;
    Ok(y)
}
