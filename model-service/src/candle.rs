//! The Candle models, the only module that imports Candle. Its results are plain vectors.

mod dense;
mod embedding_bag;
mod encoder;
mod fit;
mod mlp;
mod text_bag;
mod text_encoder;
mod text_fit;

pub use encoder::{Encoder, EncoderConfig};
pub use fit::{Fit, FitOptions, Step, Targets, training_tensors};
pub use mlp::Mlp;
use mlp::compute;
pub(crate) use text_bag::TextBag;
pub use text_encoder::EncoderHead;
pub(crate) use text_encoder::{TextEncoder, joined};
pub(crate) use text_fit::TextFit;

#[cfg(test)]
mod tests;
