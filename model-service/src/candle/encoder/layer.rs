//! One layer of an encoder: attention and two linear layers, each with what it got added and
//! normalised.

use candle_core::{Result, Tensor};

use super::EncoderConfig;
use super::attention::Attention;
use super::kernels::{Gelu, layer_norm};
use super::weights::{LayerNorm, Linear, Weights};
use crate::candle::dense::with_slices;
use crate::model::ComputeError;

#[derive(Debug)]
pub(super) struct Layer {
    span: String,
    pub(super) attention: Attention,
    pub(super) attention_output: AddAndNorm,
    pub(super) intermediate: Linear,
    pub(super) output: AddAndNorm,
}

/// A linear layer whose result is added to the input of the block before it, and normalised.
#[derive(Debug)]
pub(super) struct AddAndNorm {
    pub(super) linear: Linear,
    pub(super) norm: LayerNorm,
}

impl Layer {
    pub(super) fn read(
        weights: &Weights,
        config: &EncoderConfig,
        number: usize,
    ) -> std::result::Result<Self, ComputeError> {
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            span: format!("layer encoder_{}", number + 1),
            attention: Attention::read(&weights.below("attention.self"), config)?,
            attention_output: AddAndNorm::read(&weights.below("attention.output"), config, hidden)?,
            intermediate: weights.linear("intermediate.dense", hidden, wide)?,
            output: AddAndNorm::read(&weights.below("output"), config, wide)?,
        })
    }

    /// The name of its span.
    pub(super) fn span(&self) -> &str {
        &self.span
    }

    /// From \[tokens, hidden\] to the same.
    pub(super) fn apply(&self, x: &Tensor, ends: &[usize]) -> Result<Tensor> {
        let attended = self.attention.apply(x, ends)?;
        let x = self.attention_output.apply(&attended, x)?;
        let wide = x.matmul(&self.intermediate.weight)?;
        wide.inplace_op1(&Gelu {
            bias: &self.intermediate.bias,
        })?;
        self.output.apply(&wide, &x)
    }
}

impl AddAndNorm {
    fn read(
        weights: &Weights,
        config: &EncoderConfig,
        inputs: usize,
    ) -> std::result::Result<Self, ComputeError> {
        Ok(Self {
            linear: weights.linear("dense", inputs, config.hidden_size)?,
            norm: weights.layer_norm("LayerNorm", config)?,
        })
    }

    fn apply(&self, x: &Tensor, before: &Tensor) -> Result<Tensor> {
        let product = x.matmul(&self.linear.weight)?;
        let mut y = with_slices([&product], |[product]| product.to_vec())?;
        with_slices([before], |[before]| {
            layer_norm(&mut y, Some((&self.linear.bias, before)), &self.norm);
        })?;
        Tensor::from_vec(y, before.shape(), before.device())
    }
}
