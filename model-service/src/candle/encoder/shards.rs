//! A layer for few tokens, of which every thread computes a part: some heads of the attention, and
//! some columns of the layer that widens. Each multiplies its part by the rows of the next weight
//! that belong to it, and the parts are added (Shoeybi et al. 2019, Megatron-LM), so the threads wait
//! for each other only twice in a layer.

use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::attention::Attention;
use super::kernels::{add_bias, gelu_of_sum, layer_norm, softmax};
use super::layer::{AddAndNorm, Layer};
use super::product::{Columns, add_product};
use super::weights::Linear;
use crate::candle::dense::with_slices;

/// So many numbers are in the widest vector; fewer at the end of a row would be added one by one.
const LANES: usize = 16;

/// From \[tokens, hidden\] to the same.
pub(super) fn apply(layer: &Layer, x: &Tensor, ends: &[usize]) -> Result<Tensor> {
    let y = with_slices([x], |[x]| {
        let attention = &layer.attention;
        let attended = sum_of_parts(attention.heads, |heads| {
            attend(attention, &layer.attention_output.linear, x, ends, heads)
        })?;
        let x = add_and_norm(&layer.attention_output, attended, x);
        let wide = &layer.intermediate;
        let product = sum_of_parts(wide.bias.len(), |columns| {
            widen_and_narrow(wide, &layer.output.linear, &x, columns)
        })?;
        Ok::<_, candle_core::Error>(add_and_norm(&layer.output, product, &x))
    })??;
    Tensor::from_vec(y, x.shape(), x.device())
}

/// Divides `0..count` among the threads, and adds what they give.
fn sum_of_parts(
    count: usize,
    work: impl Fn(Range<usize>) -> Result<Vec<f32>> + Sync,
) -> Result<Vec<f32>> {
    let parts = rayon::current_num_threads().clamp(1, count);
    let range = |part| count * part / parts..count * (part + 1) / parts;
    let given = (0..parts).into_par_iter().map(|part| work(range(part)));
    let mut given = given.collect::<Result<Vec<_>>>()?;
    let mut sum = given.pop().unwrap_or_default();
    for part in given {
        for (sum, value) in sum.iter_mut().zip(part) {
            *sum += value;
        }
    }
    Ok(sum)
}

fn add_and_norm(layer: &AddAndNorm, mut product: Vec<f32>, before: &[f32]) -> Vec<f32> {
    layer_norm(
        &mut product,
        Some((&layer.linear.bias, before)),
        &layer.norm,
    );
    product
}

/// Some columns of the wide layer, times the rows of the narrow one that take them.
fn widen_and_narrow(
    wide: &Linear,
    narrow: &Linear,
    x: &[f32],
    columns: Range<usize>,
) -> Result<Vec<f32>> {
    with_slices([&wide.weight, &narrow.weight], |[wide_weight, weight]| {
        let (own, width) = (columns.len(), narrow.bias.len());
        let rows = x.len() / width;
        let mut values = vec![0.0; rows * own];
        add_product(
            &mut values,
            x,
            Columns {
                values: wide_weight,
                stride: wide.bias.len(),
                start: columns.start,
                width: own,
            },
        );
        gelu_of_sum(&mut values, &wide.bias[columns.clone()]);
        let mut product = vec![0.0; rows * width];
        let weight = &weight[columns.start * width..columns.end * width];
        add_product(&mut product, &values, Columns::all(weight, width));
        product
    })
}

/// Some heads of the attention, times the rows of the output's weight that take them.
fn attend(
    attention: &Attention,
    output: &Linear,
    x: &[f32],
    ends: &[usize],
    heads: Range<usize>,
) -> Result<Vec<f32>> {
    let projection = &attention.query_key_value;
    with_slices(
        [&projection.weight, &output.weight],
        |[projected, weight]| {
            let hidden = attention.hidden;
            let width = hidden / attention.heads;
            let (first, own) = (heads.start * width, heads.len() * width);
            let rows = x.len() / hidden;
            let [query, key, value] = [0, 1, 2].map(|part| {
                let start = part * hidden + first;
                let mut values = vec![0.0; rows * own];
                add_product(
                    &mut values,
                    x,
                    Columns {
                        values: projected,
                        stride: 3 * hidden,
                        start,
                        width: own,
                    },
                );
                add_bias(&mut values, &projection.bias[start..start + own]);
                values
            });
            let mut attended = vec![0.0; rows * own];
            let mut start = 0;
            for end in ends {
                let text = start * own..end * own;
                let parts = [&query, &key, &value].map(|part| &part[text.clone()]);
                attend_text(parts, own, width, &mut attended[text]);
                start = *end;
            }
            let mut product = vec![0.0; rows * hidden];
            let weight = &weight[first * hidden..(first + own) * hidden];
            add_product(&mut product, &attended, Columns::all(weight, hidden));
            product
        },
    )
}

/// Query, key and value of one text, of some heads side by side.
fn attend_text(parts: [&[f32]; 3], own: usize, width: usize, attended: &mut [f32]) {
    let [query, key, value] = parts;
    let tokens = query.len() / own;
    let padded = tokens.next_multiple_of(LANES);
    let scale = 1.0 / (width as f32).sqrt();
    for head in (0..own).step_by(width) {
        let of_head = |part: &[f32]| -> Vec<f32> {
            let rows = part.chunks_exact(own);
            rows.flat_map(|row| row[head..head + width].iter().copied())
                .collect()
        };
        let mut keys = vec![0.0; width * padded];
        for (token, row) in key.chunks_exact(own).enumerate() {
            for (at, value) in row[head..head + width].iter().enumerate() {
                keys[at * padded + token] = *value;
            }
        }
        let mut scores = vec![0.0; tokens * padded];
        add_product(&mut scores, &of_head(query), Columns::all(&keys, padded));
        let rows = scores.chunks_exact(padded);
        let mut weights: Vec<f32> = rows.flat_map(|row| row[..tokens].iter().copied()).collect();
        softmax(&mut weights, tokens, scale);
        let mut mixed = vec![0.0; tokens * width];
        add_product(
            &mut mixed,
            &weights,
            Columns {
                values: value,
                stride: own,
                start: head,
                width,
            },
        );
        for (row, mixed) in attended
            .chunks_exact_mut(own)
            .zip(mixed.chunks_exact(width))
        {
            row[head..head + width].copy_from_slice(mixed);
        }
    }
}
