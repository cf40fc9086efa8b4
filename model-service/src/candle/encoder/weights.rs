//! The tensors of an encoder by the names that Hugging Face gives them.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{DType, Tensor};

use super::EncoderConfig;
use crate::candle::mlp::{MISSING, compute, read_tensor};
use crate::model::ComputeError;

/// The tensors below a name.
#[derive(Debug)]
pub(super) struct Weights {
    tensors: Arc<HashMap<String, Tensor>>,
    prefix: String,
}

/// Scale and shift after a normalisation (Ba et al. 2016, Layer Normalization).
#[derive(Debug)]
pub(super) struct LayerNorm {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) eps: f32,
}

/// A linear layer, with its weight transposed against the file: \[inputs, outputs\]. A product with
/// it takes half as long, because gemm need not rearrange it at every call.
#[derive(Debug)]
pub(super) struct Linear {
    pub(super) weight: Tensor,
    pub(super) bias: Vec<f32>,
}

impl Weights {
    /// Weights of half the width become f32. A sequence classifier has its
    /// encoder below `bert`.
    pub(super) fn of(tensors: Arc<HashMap<String, Tensor>>) -> Self {
        let nested = tensors.keys().any(|name| name.starts_with("bert."));
        Self {
            prefix: if nested { "bert." } else { "" }.to_owned(),
            ..Self::beside(tensors)
        }
    }

    /// Those that are not of the encoder.
    pub(super) fn beside(tensors: Arc<HashMap<String, Tensor>>) -> Self {
        Self {
            tensors,
            prefix: String::new(),
        }
    }

    pub(super) fn below(&self, name: &str) -> Self {
        Self {
            tensors: Arc::clone(&self.tensors),
            prefix: format!("{}{name}.", self.prefix),
        }
    }

    pub(super) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ComputeError> {
        let name = format!("{}{name}", self.prefix);
        let tensor = self.tensors.get(&name);
        let tensor = tensor.ok_or_else(|| ComputeError::tensor(&name, MISSING))?;
        let wide = tensor.to_dtype(DType::F32).map_err(compute)?;
        read_tensor(&HashMap::from([(name.clone(), wide)]), &name, shape)
    }

    pub(super) fn vector(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ComputeError> {
        let tensor = self.tensor(name, shape)?.flatten_all();
        tensor.and_then(|tensor| tensor.to_vec1()).map_err(compute)
    }

    pub(super) fn layer_norm(
        &self,
        name: &str,
        config: &EncoderConfig,
    ) -> Result<LayerNorm, ComputeError> {
        let shape = [config.hidden_size];
        Ok(LayerNorm {
            weight: self.vector(&format!("{name}.weight"), &shape)?,
            bias: self.vector(&format!("{name}.bias"), &shape)?,
            eps: config.layer_norm_eps as f32,
        })
    }

    pub(super) fn linear(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear, ComputeError> {
        let weight = self.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let weight = weight.t().and_then(|weight| weight.contiguous());
        Ok(Linear {
            weight: weight.map_err(compute)?,
            bias: self.vector(&format!("{name}.bias"), &[outputs])?,
        })
    }
}

impl Linear {
    /// Layers with the same input as one.
    pub(super) fn side_by_side(layers: &[Self]) -> Result<Self, ComputeError> {
        let weights: Vec<&Tensor> = layers.iter().map(|layer| &layer.weight).collect();
        let weight = Tensor::cat(&weights, 1).and_then(|weight| weight.contiguous());
        Ok(Self {
            weight: weight.map_err(compute)?,
            bias: layers.iter().flat_map(|layer| layer.bias.clone()).collect(),
        })
    }
}
