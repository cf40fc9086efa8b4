//! The Candle models. Nothing outside this folder names Candle; what leaves it are plain vectors.

mod dense;
mod fit;
mod mlp;

pub use fit::{Fit, FitOptions, Step};
pub use mlp::Mlp;

#[cfg(test)]
mod tests;
