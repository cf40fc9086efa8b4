//! Scaled dot-product attention of every token to every token of its text (Vaswani et al. 2017,
//! Attention Is All You Need).

use candle_core::{Result, Tensor};

use super::EncoderConfig;
use super::kernels::{AddBias, Softmax};
use super::weights::{Linear, Weights};
use crate::candle::dense::with_slices;
use crate::model::ComputeError;

#[derive(Debug)]
pub(super) struct Attention {
    /// Query, key and value side by side: \[hidden, 3 · hidden\].
    pub(super) query_key_value: Linear,
    pub(super) heads: usize,
    pub(super) hidden: usize,
}

impl Attention {
    pub(super) fn read(
        weights: &Weights,
        config: &EncoderConfig,
    ) -> std::result::Result<Self, ComputeError> {
        let hidden = config.hidden_size;
        let linear = |name| weights.linear(name, hidden, hidden);
        let layers = [linear("query")?, linear("key")?, linear("value")?];
        Ok(Self {
            query_key_value: Linear::side_by_side(&layers)?,
            heads: config.num_attention_heads,
            hidden,
        })
    }

    /// From \[tokens, hidden\] to the same; `ends` are those of the texts.
    pub(super) fn apply(&self, x: &Tensor, ends: &[usize]) -> Result<Tensor> {
        let projected = x.matmul(&self.query_key_value.weight)?;
        projected.inplace_op1(&AddBias(&self.query_key_value.bias))?;
        let mut attended = Vec::with_capacity(x.elem_count());
        let mut start = 0;
        for end in ends {
            let text = projected.narrow(0, start, end - start)?;
            self.attend(&text, &mut attended)?;
            start = *end;
        }
        Tensor::from_vec(attended, x.shape(), x.device())
    }

    /// Appends the result for one text.
    fn attend(&self, projected: &Tensor, attended: &mut Vec<f32>) -> Result<()> {
        let tokens = projected.dim(0)?;
        let width = self.hidden / self.heads;
        let parts = projected.reshape((tokens, 3, self.heads, width))?;
        // Views of \[heads, tokens, width\]: nothing is copied before the products.
        let part = |index| parts.narrow(1, index, 1)?.squeeze(1)?.transpose(0, 1);
        let (query, key, value) = (part(0)?, part(1)?, part(2)?);
        let scores = query.matmul(&key.transpose(1, 2)?)?;
        scores.inplace_op1(&Softmax {
            scale: 1.0 / (width as f32).sqrt(),
        })?;
        let heads = scores.matmul(&value)?;
        with_slices([&heads], |[heads]| {
            for token in 0..tokens {
                for head in heads.chunks_exact(tokens * width) {
                    attended.extend_from_slice(&head[token * width..(token + 1) * width]);
                }
            }
        })
    }
}
