//! A product of few rows with a weight, on the calling thread.
//!
//! With few rows the time is that of reading the weight. It is read row by row as it lies in memory:
//! gemm would first rearrange it, and wake other threads for each product.

#![expect(
    clippy::inline_always,
    reason = "a function that is not inlined into the dispatched loop is compiled without its instructions"
)]

use std::array;

use pulp::{Arch, Simd, WithSimd};

/// Some neighbouring columns of a weight.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    /// \[inputs, stride\]
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
    pub(super) start: usize,
    pub(super) width: usize,
}

/// Rows that are worked on together: they and as many rows of the weight fit into the first cache.
const ROWS: usize = 8;
/// Rows of the weight that are multiplied at once, each by a value that is kept in a register.
const INPUTS: usize = 8;

/// `y += x·w` with `x` \[rows, inputs\] and `y` \[rows, columns\].
pub(super) fn add_product(y: &mut [f32], x: &[f32], columns: Columns<'_>) {
    if !y.is_empty() {
        Arch::new().dispatch(Product { y, x, columns });
    }
}

struct Product<'a> {
    y: &'a mut [f32],
    x: &'a [f32],
    columns: Columns<'a>,
}

impl<'a> Columns<'a> {
    /// All columns of a weight.
    pub(super) fn all(values: &'a [f32], width: usize) -> Self {
        Self {
            values,
            stride: width,
            start: 0,
            width,
        }
    }

    #[inline(always)]
    fn row(&self, input: usize) -> &'a [f32] {
        let start = input * self.stride + self.start;
        &self.values[start..start + self.width]
    }
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { y, x, columns } = self;
        let rows = y.len() / columns.width;
        let inputs = x.len() / rows;
        for (y, x) in y
            .chunks_mut(ROWS * columns.width)
            .zip(x.chunks(ROWS * inputs))
        {
            let whole = inputs - inputs % INPUTS;
            for input in (0..whole).step_by(INPUTS) {
                add::<S, INPUTS>(simd, y, x, inputs, input, columns);
            }
            for input in whole..inputs {
                add::<S, 1>(simd, y, x, inputs, input, columns);
            }
        }
    }
}

/// Adds what `N` inputs from `input` on give.
#[inline(always)]
fn add<S: Simd, const N: usize>(
    simd: S,
    y: &mut [f32],
    x: &[f32],
    inputs: usize,
    input: usize,
    columns: Columns<'_>,
) {
    let weights: [(&[S::f32s], &[f32]); N] =
        array::from_fn(|at| S::as_simd_f32s(columns.row(input + at)));
    let length = weights[0].0.len();
    let vectors = weights.map(|(vectors, _)| &vectors[..length]);
    let rests = weights.map(|(_, rest)| rest);
    for (y, x) in y
        .chunks_exact_mut(columns.width)
        .zip(x.chunks_exact(inputs))
    {
        let x: [f32; N] = array::from_fn(|at| x[input + at]);
        let factors = x.map(|value| simd.splat_f32s(value));
        let (y, y_rest) = S::as_mut_simd_f32s(y);
        for (column, y) in y[..length].iter_mut().enumerate() {
            let mut sum = *y;
            for at in 0..N {
                sum = simd.mul_add_f32s(factors[at], vectors[at][column], sum);
            }
            *y = sum;
        }
        for (column, y) in y_rest.iter_mut().enumerate() {
            for at in 0..N {
                *y += x[at] * rests[at][column];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_plain_loops() {
        for (rows, inputs, stride, start, width) in [
            (1, 1, 1, 0, 1),
            (3, 20, 50, 7, 33),
            (8, 16, 64, 0, 64),
            (19, 9, 48, 16, 16),
        ] {
            let value = |at: usize| (at as f32 * 0.37).sin();
            let x: Vec<f32> = (0..rows * inputs).map(value).collect();
            let values: Vec<f32> = (0..inputs * stride).map(|at| value(at + 5)).collect();
            let mut y = vec![1.0; rows * width];
            let columns = Columns {
                values: &values,
                stride,
                start,
                width,
            };
            add_product(&mut y, &x, columns);
            for (at, ours) in y.iter().enumerate() {
                let (row, column) = (at / width, start + at % width);
                let products = (0..inputs).map(|input| {
                    f64::from(x[row * inputs + input]) * f64::from(values[input * stride + column])
                });
                let plain = 1.0 + products.sum::<f64>();
                assert!((f64::from(*ours) - plain).abs() < 1e-5, "{ours} {plain}");
            }
        }
    }
}
