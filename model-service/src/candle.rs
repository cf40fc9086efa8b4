//! The Candle models, the only module that imports Candle. Its results are plain vectors.

mod dense;
mod fit;
mod mlp;

pub use fit::{Fit, FitOptions, Step};
pub use mlp::Mlp;

#[cfg(test)]
mod tests;
