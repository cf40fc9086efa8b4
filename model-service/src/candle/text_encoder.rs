//! A text classifier on an encoder: its vector, and the layers that were trained on it.

use candle_core::{Device, Tensor};

use super::encoder::{self, Encoder, EncoderConfig};
use super::mlp::{Mlp, compute};
use crate::model::{Batch, ComputeError, Model, Probabilities};

/// An encoder, and `linear_<n>` in the same file.
#[derive(Debug)]
pub(crate) struct TextEncoder {
    encoder: Encoder,
    head: Mlp,
}

impl TextEncoder {
    /// Reads the weights; `widths` begin with that of a vector. A tensor that does not fit is an
    /// error.
    pub(crate) fn from_safetensors(
        weights: &[u8],
        config: &EncoderConfig,
        widths: &[usize],
    ) -> Result<Self, ComputeError> {
        let tensors = encoder::read(weights, config)?;
        Ok(Self {
            encoder: Encoder::from_tensors(&tensors, config)?,
            // Names of the encoder are others, so both may be in one file.
            head: Mlp::from_tensors(&tensors, widths)?,
        })
    }
}

impl Model for TextEncoder {
    fn probabilities(&self, batch: &Batch) -> Result<Probabilities, ComputeError> {
        let Batch::Tokens(tokens) = batch else {
            return Err(ComputeError::Input);
        };
        let vectors = self.encoder.embed(tokens)?;
        let computable = vectors.chunks_exact(self.encoder.width());
        let computable = computable.map(|vector| vector.iter().all(|value| value.is_finite()));
        let computable = computable.collect();
        let shape = (tokens.len(), self.encoder.width());
        let vectors = Tensor::from_vec(vectors, shape, &Device::Cpu).map_err(compute)?;
        self.head.forward_traced(vectors, computable)
    }
}

/// The weights of an encoder and those of the layers on it as one file.
pub(crate) fn joined(encoder: &[u8], head: &[u8]) -> Result<Vec<u8>, ComputeError> {
    let read = |file| {
        candle_core::safetensors::load_buffer(file, &Device::Cpu)
            .map_err(|error| ComputeError::Weights(error.into()))
    };
    let mut tensors: Vec<_> = read(encoder)?.into_iter().chain(read(head)?).collect();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    safetensors::serialize(tensors, None).map_err(|error| ComputeError::Weights(error.into()))
}
