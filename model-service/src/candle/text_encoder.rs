//! A text model on an encoder: its vector, and what follows it.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::encoder::{self, Classifier, Encoder, EncoderConfig};
use super::mlp::{Mlp, compute};
use crate::model::{Batch, ComputeError, Model, Probabilities, Tokens};

/// What follows an encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderHead {
    /// `linear_<n>`, which were trained here on the mean of a text's tokens.
    #[default]
    Layers,
    /// Nothing: the answer is the mean of a text's tokens.
    Embedding,
    /// Pooler and classifier of `BertForSequenceClassification`, on a text's first token.
    Classifier,
}

/// An encoder with its head, from one file.
#[derive(Debug)]
pub(crate) struct TextEncoder {
    encoder: Encoder,
    head: Head,
}

#[derive(Debug)]
enum Head {
    Layers(Mlp),
    Embedding,
    Classifier(Classifier),
}

impl TextEncoder {
    /// Reads the weights; `widths` are those of a vector and after each layer. A tensor that does not
    /// fit is an error.
    pub(crate) fn from_safetensors(
        weights: &[u8],
        config: &EncoderConfig,
        head: EncoderHead,
        widths: &[usize],
    ) -> Result<Self, ComputeError> {
        let tensors = encoder::read(weights, config)?;
        Ok(Self {
            encoder: Encoder::from_tensors(&tensors, config)?,
            head: match head {
                // Names of the encoder are others, so both may be in one file.
                EncoderHead::Layers => Head::Layers(Mlp::from_tensors(&tensors, widths)?),
                EncoderHead::Embedding => Head::Embedding,
                EncoderHead::Classifier => {
                    let classes = widths.last().copied().unwrap_or(0);
                    Head::Classifier(encoder::classifier(&tensors, config, classes)?)
                }
            },
        })
    }

    fn layers(&self, layers: &Mlp, tokens: &Tokens) -> Result<Probabilities, ComputeError> {
        let vectors = self.encoder.embed(tokens)?;
        let computable = vectors.chunks_exact(self.encoder.width());
        let computable = computable.map(|vector| vector.iter().all(|value| value.is_finite()));
        let computable = computable.collect();
        let shape = (tokens.len(), self.encoder.width());
        let vectors = Tensor::from_vec(vectors, shape, &Device::Cpu).map_err(compute)?;
        layers.forward_traced(vectors, computable)
    }
}

impl Model for TextEncoder {
    fn probabilities(&self, batch: &Batch) -> Result<Probabilities, ComputeError> {
        let Batch::Tokens(tokens) = batch else {
            return Err(ComputeError::Input);
        };
        match &self.head {
            Head::Layers(layers) => self.layers(layers, tokens),
            Head::Embedding => {
                let vectors = self.encoder.embed(tokens)?;
                Ok(Probabilities::from_values(vectors, self.encoder.width()))
            }
            Head::Classifier(classifier) => {
                classifier.probabilities(self.encoder.first_tokens(tokens)?)
            }
        }
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
