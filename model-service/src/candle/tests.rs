//! Our layer against Candle's own, and weights that do not fit.

use candle_core::{Device, Tensor, Var};

use super::dense::Dense;
use super::*;
use crate::model::{Batch, ComputeError, Model, Rows};

fn tensor(values: &[f32], shape: (usize, usize)) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(ours: &Tensor, candles: &Tensor) {
    for (ours, candles) in values(ours).iter().zip(values(candles)) {
        assert!((ours - candles).abs() < 1e-5, "{ours} is not {candles}");
    }
}

#[test]
fn dense_and_its_gradients_are_those_of_matmul() {
    let wave = |count: usize| -> Vec<f32> { (0..count).map(|n| (n as f32 * 0.7).sin()).collect() };
    let x = Var::from_tensor(&tensor(&wave(15), (5, 3))).unwrap();
    let w = Var::from_tensor(&tensor(&wave(12), (3, 4))).unwrap();
    let b = Var::from_tensor(&Tensor::from_vec(wave(4), 4, &Device::Cpu).unwrap()).unwrap();
    let ours = Dense {
        input_gradient: true,
    }
    .tracked(&x, &w, &b)
    .unwrap();
    let candles = x.matmul(&w).unwrap().broadcast_add(&b).unwrap();
    assert_close(&ours, &candles);
    assert_close(&Dense::plain(&x, &w, &b).unwrap(), &candles);
    let ours = ours.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let candles = candles
        .sqr()
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    for variable in [&x, &w, &b] {
        assert_close(ours.get(variable).unwrap(), candles.get(variable).unwrap());
    }
}

#[test]
fn a_rectified_layer_is_dense_and_relu_and_what_overflows_is_nan() {
    let wave: Vec<f32> = (0..20).map(|n| (n as f32 * 0.7).sin()).collect();
    let (w, b) = (
        tensor(&wave[..12], (3, 4)),
        Tensor::new(&wave[12..16], &Device::Cpu).unwrap(),
    );
    let x = tensor(&wave[..9], (3, 3));
    let separate = Dense::plain(&x, &w, &b).unwrap().relu().unwrap();
    let rectified = Dense::rectified(&x, &w, &b).unwrap();
    assert_eq!(values(&rectified), values(&separate));
    assert!(values(&rectified).contains(&0.0));
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let x = tensor(&[value, 1.0, 1.0], (1, 3));
        let y = values(&Dense::rectified(&x, &w, &b).unwrap());
        assert!(y.iter().all(|y| y.is_nan()), "{value} became {y:?}");
    }
}

#[test]
fn dense_refuses_shapes_that_do_not_fit() {
    let x = tensor(&[0.0; 6], (2, 3));
    let b = Tensor::zeros(2, candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(Dense::plain(&x, &tensor(&[0.0; 4], (2, 2)), &b).is_err());
    assert!(Dense::plain(&x, &tensor(&[0.0; 9], (3, 3)), &b).is_err());
}

fn fit(widths: &[usize]) -> Fit {
    Fit::new(&FitOptions {
        widths: widths.to_vec(),
        learning_rate: 0.1,
        weight_decay: 0.0,
        seed: 1,
    })
    .unwrap()
}

#[test]
fn a_network_learns_what_no_line_can_split() {
    let mut fit = fit(&[2, 8, 8, 2]);
    let rows = Rows::new(vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], 2).unwrap();
    let xor = [0, 1, 1, 0];
    let targets = Targets::Classes(xor.to_vec());
    let first = fit.step(&rows, &targets).unwrap();
    for _ in 0..200 {
        fit.step(&rows, &targets).unwrap();
    }
    let last = fit.step(&rows, &targets).unwrap();
    assert!(last.loss < 0.05 && first.loss > 0.3, "{first:?} {last:?}");
    let probabilities = fit.model().unwrap().probabilities_untraced(&rows).unwrap();
    let classes = probabilities
        .rows()
        .map(|row| crate::model::most_likely(row).0 as u32);
    assert_eq!(classes.collect::<Vec<_>>(), xor);
    assert!(
        probabilities
            .rows()
            .all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-6)
    );
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let weights = fit(&[3, 4, 2]).weights().unwrap();
    assert!(Mlp::from_safetensors(&weights, &[3, 4, 2]).is_ok());
    for widths in [&[3, 5, 2][..], &[3, 4, 4, 2], &[4, 4, 2]] {
        assert!(matches!(
            Mlp::from_safetensors(&weights, widths),
            Err(ComputeError::Tensor { .. })
        ));
    }
    for cut in [0, 4, weights.len() / 2, weights.len() - 1] {
        let refused = Mlp::from_safetensors(&weights[..cut], &[3, 4, 2]);
        assert!(matches!(refused, Err(ComputeError::Weights(_))));
    }
    let mut not_a_number = weights.clone();
    let end = not_a_number.len();
    not_a_number[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(matches!(
        Mlp::from_safetensors(&not_a_number, &[3, 4, 2]),
        Err(ComputeError::Tensor { .. })
    ));
}

#[test]
fn rows_of_another_width_are_refused() {
    let model = fit(&[3, 4, 2]).model().unwrap();
    let rows = Rows::new(vec![0.0; 4], 4).unwrap();
    assert!(matches!(
        model.probabilities(&Batch::Rows(rows)),
        Err(ComputeError::Width {
            expected: 3,
            actual: 4
        })
    ));
}

/// A huge value overflows in the first layer; without the check, `ReLU` would make 0 of NaN and -∞.
#[test]
fn a_row_that_overflows_in_any_layer_is_no_number_and_the_others_stay() {
    let model = fit(&[2, 8, 8, 2]).model().unwrap();
    let alone = Rows::new(vec![1.0, 2.0], 2).unwrap();
    let expected = model
        .probabilities(&Batch::Rows(alone))
        .unwrap()
        .into_values();
    let huge = [
        [f32::MAX, f32::MAX],
        [f32::INFINITY, 1.0],
        [1.0, f32::NEG_INFINITY],
        [f32::NAN, 0.0],
    ];
    for row in huge {
        let values = [&[1.0, 2.0][..], &row, &[1.0, 2.0]].concat();
        let rows = Rows::new(values, 2).unwrap();
        let found = model.probabilities(&Batch::Rows(rows)).unwrap();
        let found: Vec<_> = found.rows().collect();
        assert_eq!(found[0], expected);
        assert!(found[1].iter().all(|value| value.is_nan()), "{row:?}");
        assert_eq!(found[2], expected);
    }
    let tiny = Rows::new(vec![f32::from_bits(1), -f32::from_bits(1)], 2).unwrap();
    assert!(
        model
            .probabilities(&Batch::Rows(tiny))
            .unwrap()
            .is_complete()
    );
}
