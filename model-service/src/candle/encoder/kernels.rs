//! What an encoder computes value by value, with the widest vectors that the processor has.
//!
//! The loops are plain; `pulp` compiles them once per instruction set and chooses at run time, as
//! gemm does. The approximations of `exp` and `erf` are what lets the compiler vectorise them.

#![expect(
    clippy::inline_always,
    reason = "a function that is not inlined into the dispatched loop is compiled without its instructions"
)]

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, bail};

use super::weights::LayerNorm;
use crate::candle::dense::with_slices;

/// Adds the bias to each row, and applies the activation (Hendrycks and Gimpel 2016, the exact form).
pub(super) struct Gelu<'a> {
    pub(super) bias: &'a [f32],
}

/// Adds the bias to each row.
pub(super) struct AddBias<'a>(pub(super) &'a [f32]);

/// Turns each row of scores, scaled, into weights that add up to 1.
pub(super) struct Softmax {
    pub(super) scale: f32,
}

impl InplaceOp1 for Gelu<'_> {
    fn name(&self) -> &'static str {
        "bias_gelu"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        rows(storage, layout, |row| gelu_row(row, self.bias))
    }
}

impl InplaceOp1 for AddBias<'_> {
    fn name(&self) -> &'static str {
        "add_bias"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        rows(storage, layout, |row| add_bias_to(row, self.0))
    }
}

impl InplaceOp1 for Softmax {
    fn name(&self) -> &'static str {
        "scaled_softmax"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        rows(storage, layout, |row| softmax_row(row, self.scale))
    }
}

/// Adds the bias to each row.
pub(super) fn add_bias(x: &mut [f32], bias: &[f32]) {
    rows_of(x, bias.len(), |row| add_bias_to(row, bias));
}

/// The activation of each row with the bias added.
pub(super) fn gelu_of_sum(x: &mut [f32], bias: &[f32]) {
    rows_of(x, bias.len(), |row| gelu_row(row, bias));
}

/// Turns each row of scores, scaled, into weights that add up to 1.
pub(super) fn softmax(x: &mut [f32], width: usize, scale: f32) {
    rows_of(x, width, |row| softmax_row(row, scale));
}

#[inline(always)]
fn add_bias_to(row: &mut [f32], bias: &[f32]) {
    for (value, bias) in row.iter_mut().zip(bias) {
        *value += bias;
    }
}

#[inline(always)]
fn gelu_row(row: &mut [f32], bias: &[f32]) {
    for (value, bias) in row.iter_mut().zip(bias) {
        *value = gelu(*value + bias);
    }
}

#[inline(always)]
fn softmax_row(row: &mut [f32], scale: f32) {
    let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for value in row.iter_mut() {
        *value = exp((*value - highest) * scale);
    }
    let whole = 1.0 / sum(row, |value| value);
    for value in row.iter_mut() {
        *value *= whole;
    }
}

/// Normalises each row to mean 0 and variance 1, after adding a bias and another tensor to it, and
/// scales and shifts it.
pub(super) fn layer_norm(x: &mut [f32], added: Option<(&[f32], &[f32])>, norm: &LayerNorm) {
    let width = norm.weight.len();
    vectorised(
        #[inline(always)]
        || {
            for (index, row) in x.chunks_exact_mut(width).enumerate() {
                if let Some((bias, other)) = added {
                    let other = &other[index * width..(index + 1) * width];
                    for ((value, bias), other) in row.iter_mut().zip(bias).zip(other) {
                        *value += bias + other;
                    }
                }
                let mean = sum(row, |value| value) / width as f32;
                let variance = sum(row, |value| (value - mean) * (value - mean)) / width as f32;
                // Of an overflow nothing is left: 1 / ∞ would make the row 0, which looks like a value.
                let variance = if variance.is_finite() {
                    variance
                } else {
                    f32::NAN
                };
                let scale = 1.0 / (variance + norm.eps).sqrt();
                for ((value, weight), bias) in row.iter_mut().zip(&norm.weight).zip(&norm.bias) {
                    *value = (*value - mean) * scale * weight + bias;
                }
            }
        },
    );
}

/// The mean of the rows of each text.
pub(super) fn mean(x: &Tensor, ends: &[usize]) -> Result<Vec<f32>> {
    let width = x.dim(1)?;
    with_slices([x], |[x]| {
        let mut means = vec![0.0; ends.len() * width];
        let mut start = 0;
        for (mean, end) in means.chunks_exact_mut(width).zip(ends) {
            for row in x[start * width..end * width].chunks_exact(width) {
                for (mean, value) in mean.iter_mut().zip(row) {
                    *mean += value;
                }
            }
            let tokens = (end - start) as f32;
            for value in mean.iter_mut() {
                *value /= tokens;
            }
            start = *end;
        }
        means
    })
}

/// Scales each vector to length 1.
pub(super) fn normalise(vectors: &mut [f32], width: usize) {
    for vector in vectors.chunks_exact_mut(width) {
        // As PyTorch's `normalize`, which divides by this at least.
        let length = sum(vector, |value| value * value).sqrt().max(1e-12);
        for value in vector {
            *value /= length;
        }
    }
}

/// Works on each row of a contiguous tensor in place.
fn rows(storage: &mut CpuStorage, layout: &Layout, work: impl FnMut(&mut [f32])) -> Result<()> {
    let (Some((start, end)), CpuStorage::F32(values)) = (layout.contiguous_offsets(), storage)
    else {
        bail!("the tensor is not contiguous f32");
    };
    let width = layout.dims().last().copied().unwrap_or(1);
    rows_of(&mut values[start..end], width, work);
    Ok(())
}

fn rows_of(values: &mut [f32], width: usize, mut work: impl FnMut(&mut [f32])) {
    vectorised(
        #[inline(always)]
        || {
            values.chunks_exact_mut(width.max(1)).for_each(&mut work);
        },
    );
}

/// Runs the loop compiled for the instructions of this processor.
fn vectorised(work: impl FnOnce()) {
    pulp::Arch::new().dispatch(work);
}

/// Sums in several lanes, which the compiler keeps in one vector.
#[inline(always)]
fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; 16];
    let chunks = values.chunks_exact(lanes.len());
    let rest: f32 = chunks.remainder().iter().map(|value| of(*value)).sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += of(*value);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Formula 7.1.26 of Abramowitz and Stegun 1964; the error is below 1.5e-7.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let size = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let sum = 1.061_405_4;
    let sum = -1.453_152 + t * sum;
    let sum = 1.421_413_7 + t * sum;
    let sum = -0.284_496_74 + t * sum;
    let sum = 0.254_829_6 + t * sum;
    (1.0 - t * sum * exp(-size * size)).copysign(x)
}

/// `exp` for values up to 88, below which every smaller value counts as -87: `2ⁿ · exp(r)` with
/// `|r| ≤ ln 2 / 2` and the polynomial of Cephes' `expf`. The relative error is below 2e-7.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding it rounds to a whole number, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let sum = 1.987_569_1e-4;
    let sum = 1.398_2e-3 + r * sum;
    let sum = 8.333_452e-3 + r * sum;
    let sum = 4.166_579_6e-2 + r * sum;
    let sum = 0.166_666_66 + r * sum;
    let sum = 0.5 + r * sum;
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    (1.0 + r + r * r * sum) * power
}

#[cfg(test)]
mod tests {
    //! The approximations against the standard library and known values.

    use super::*;

    #[test]
    fn exp_is_that_of_the_standard_library() {
        for step in -8_600..=880 {
            let x = step as f32 * 0.01;
            let (ours, theirs) = (exp(x), x.exp());
            assert!(
                (ours / theirs - 1.0).abs() < 1e-6,
                "exp({x}): {ours} {theirs}"
            );
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn erf_and_gelu_have_their_known_values() {
        // Abramowitz and Stegun 1964, table 7.1.
        for (x, known) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916),
            (0.5, 0.520_499_9),
            (1.0, 0.842_700_8),
            (2.0, 0.995_322_3),
            (4.0, 1.0),
        ] {
            assert!((erf(x) - known).abs() < 5e-7, "erf({x}) is {}", erf(x));
            assert!((erf(-x) + known).abs() < 5e-7, "erf(-{x}) is {}", erf(-x));
        }
        assert!((gelu(1.0) - 0.841_344_8).abs() < 1e-6);
        assert!(gelu(f32::NAN).is_nan());
    }

    #[test]
    fn a_row_with_an_infinity_has_no_weights() {
        let scores = Tensor::new(
            &[[0.0_f32, 1.0], [f32::INFINITY, 0.0]],
            &candle_core::Device::Cpu,
        );
        let scores = scores.unwrap();
        scores.inplace_op1(&Softmax { scale: 1.0 }).unwrap();
        let rows: Vec<Vec<f32>> = scores.to_vec2().unwrap();
        assert!((rows[0][1] - 0.731_058_6).abs() < 1e-6, "{rows:?}");
        assert!(rows[1].iter().any(|weight| weight.is_nan()), "{rows:?}");
    }
}
