//! A BERT encoder: one vector for a text, from the files of a Hugging Face folder.
//!
//! Devlin et al. 2019, BERT: Pre-training of Deep Bidirectional Transformers for Language
//! Understanding; the vector is the mean over the tokens (Reimers and Gurevych 2019,
//! Sentence-BERT). The forward pass is our own, because candle-transformers records with `tracing`
//! spans of its own, which would break the trace. Texts are packed one after the other, so nothing is
//! computed for padding.

mod attention;
mod classifier;
mod config;
mod kernels;
mod layer;
mod packed;
mod product;
mod shards;
mod weights;

pub(super) use classifier::Classifier;
pub use config::EncoderConfig;

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use telemetry::{Context, Span, span::with_context};

use crate::candle::compute;
use crate::model::{ComputeError, Tokens};
use kernels::{layer_norm, mean, normalise};
use layer::Layer;
use packed::{Hidden, Packed};
use weights::{LayerNorm, Weights};

/// Tokens up to which the threads divide the weights among them, and above which the texts.
const SHORT: usize = 96;

/// The weights of an encoder, ready to compute.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    words: Tensor,
    /// Of each position, with the embedding of the first token type added: every text is one segment.
    positions: Vec<f32>,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

impl Encoder {
    /// Reads the weights. A tensor that is missing, has another shape or is not finite is an error,
    /// as is a configuration of an encoder of another kind.
    pub fn from_safetensors(weights: &[u8], config: &EncoderConfig) -> Result<Self, ComputeError> {
        Self::from_tensors(&read(weights, config)?, config)
    }

    /// The same from the tensors that [`read`] gave, which may be more than those of an encoder.
    pub(super) fn from_tensors(
        tensors: &Arc<HashMap<String, Tensor>>,
        config: &EncoderConfig,
    ) -> Result<Self, ComputeError> {
        let weights = Weights::of(Arc::clone(tensors));
        let hidden = config.hidden_size;
        let embeddings = weights.below("embeddings");
        let types = embeddings.vector(
            "token_type_embeddings.weight",
            &[config.type_vocab_size, hidden],
        )?;
        let mut positions = embeddings.vector(
            "position_embeddings.weight",
            &[config.max_position_embeddings, hidden],
        )?;
        for position in positions.chunks_exact_mut(hidden) {
            for (value, first_type) in position.iter_mut().zip(&types) {
                *value += first_type;
            }
        }
        let layers = (0..config.num_hidden_layers).map(|number| {
            let weights = weights.below(&format!("encoder.layer.{number}"));
            Layer::read(&weights, config, number)
        });
        Ok(Self {
            words: embeddings.tensor("word_embeddings.weight", &[config.vocab_size, hidden])?,
            positions,
            norm: embeddings.layer_norm("LayerNorm", config)?,
            layers: layers.collect::<Result<_, _>>()?,
            config: config.clone(),
        })
    }

    /// Values of a vector.
    pub fn width(&self) -> usize {
        self.config.hidden_size
    }

    /// A vector of [`Self::width`] values per text, row-major, with a span per layer. A text that
    /// overflows has NaN in its vector.
    ///
    /// Every text has at least one token and at most `max_position_embeddings`.
    pub fn embed(&self, tokens: &Tokens) -> Result<Vec<f32>, ComputeError> {
        in_pool(|| {
            let parts = self.forward(tokens, started)?;
            let _span = started("layer pooling");
            self.pool_all(parts)
        })
    }

    /// [`Self::embed`] without spans.
    pub fn embed_untraced(&self, tokens: &Tokens) -> Result<Vec<f32>, ComputeError> {
        rayon::scope(|_| self.pool_all(self.forward(tokens, |_| None)?))
    }

    /// What the last layer gives for the first token of each text, which a classifier takes; the rest
    /// is as in [`Self::embed`].
    pub(super) fn first_tokens(&self, tokens: &Tokens) -> Result<Vec<f32>, ComputeError> {
        let width = self.width();
        in_pool(|| {
            let mut vectors = Vec::with_capacity(tokens.len() * width);
            for part in self.forward(tokens, started)? {
                let starts = std::iter::once(0).chain(part.ends.iter().copied());
                super::dense::with_slices([&part.x], |[x]| {
                    for start in starts.take(part.ends.len()) {
                        vectors.extend_from_slice(&x[start * width..(start + 1) * width]);
                    }
                })
                .map_err(compute)?;
            }
            Ok(vectors)
        })
    }

    fn forward(
        &self,
        tokens: &Tokens,
        span: impl Fn(&str) -> Option<Span>,
    ) -> Result<Vec<Hidden>, ComputeError> {
        let total: usize = tokens.texts().map(<[u32]>::len).sum();
        let is_short = total <= SHORT;
        let parts = if is_short {
            1
        } else {
            rayon::current_num_threads()
        };
        let parts = packed::split(tokens, parts);
        let embeddings = span("layer embeddings");
        let mut parts = each(parts, |part| self.look_up(&part))?;
        drop(embeddings);
        for layer in &self.layers {
            let _span = span(layer.span());
            parts = each(parts, |part| {
                let x = if is_short {
                    shards::apply(layer, &part.x, &part.ends)
                } else {
                    layer.apply(&part.x, &part.ends)
                };
                let x = x.map_err(compute)?;
                Ok(Hidden { x, ..part })
            })?;
        }
        Ok(parts)
    }

    fn pool_all(&self, parts: Vec<Hidden>) -> Result<Vec<f32>, ComputeError> {
        Ok(each(parts, |part| self.pool(&part))?.concat())
    }

    fn pool(&self, part: &Hidden) -> Result<Vec<f32>, ComputeError> {
        let mut vectors = mean(&part.x, &part.ends).map_err(compute)?;
        if self.config.normalise {
            normalise(&mut vectors, self.width());
        }
        Ok(vectors)
    }

    fn look_up(&self, part: &Packed) -> Result<Hidden, ComputeError> {
        let width = self.width();
        let mut x = Vec::with_capacity(part.ids.len() * width);
        super::dense::with_slices([&self.words], |[words]| {
            let mut start = 0;
            for end in &part.ends {
                let texts = part.ids[start..*end].iter();
                for (id, position) in texts.zip(self.positions.chunks_exact(width)) {
                    let at = *id as usize * width;
                    let word = words.get(at..at + width)?;
                    x.extend(word.iter().zip(position).map(|(word, at)| word + at));
                }
                start = *end;
            }
            (x.len() == part.ids.len() * width).then_some(())
        })
        .map_err(compute)?
        .ok_or(ComputeError::Input)?;
        layer_norm(&mut x, None, &self.norm);
        let shape = (part.ids.len(), width);
        let x = Tensor::from_vec(x, shape, self.words.device()).map_err(compute)?;
        let ends = part.ends.clone();
        Ok(Hidden { x, ends })
    }
}

/// The tensors of a file, if the configuration is of an encoder that can be computed.
pub(super) fn read(
    weights: &[u8],
    config: &EncoderConfig,
) -> Result<Arc<HashMap<String, Tensor>>, ComputeError> {
    config.check().map_err(ComputeError::Configuration)?;
    let tensors = candle_core::safetensors::load_buffer(weights, &Device::Cpu);
    let tensors = tensors.map_err(|error| ComputeError::Weights(error.into()))?;
    Ok(Arc::new(tensors))
}

/// What follows the encoder in the file of a sequence classifier.
pub(super) fn classifier(
    tensors: &Arc<HashMap<String, Tensor>>,
    config: &EncoderConfig,
    classes: usize,
) -> Result<Classifier, ComputeError> {
    let encoder = Weights::of(Arc::clone(tensors));
    let beside = Weights::beside(Arc::clone(tensors));
    Classifier::read(&encoder, &beside, config, classes)
}

/// Enters the thread pool once: products of matrices go to it, too, and a thread outside of it would
/// wake it for each of them.
fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let context = Context::current();
    rayon::scope(|_| with_context(&context, work))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "a forward pass takes it or a function that starts no span"
)]
fn started(name: &str) -> Option<Span> {
    Some(Span::start(name.to_owned(), Vec::new()))
}

/// Works on the parts at the same time.
fn each<T: Send, R: Send>(
    mut parts: Vec<T>,
    work: impl Fn(T) -> Result<R, ComputeError> + Sync + Send,
) -> Result<Vec<R>, ComputeError> {
    match (parts.pop(), parts.is_empty()) {
        // All threads work on the products of the only part.
        (Some(part), true) => Ok(vec![work(part)?]),
        (last, _) => {
            parts.extend(last);
            parts.into_par_iter().map(work).collect()
        }
    }
}

#[cfg(test)]
mod tests;
