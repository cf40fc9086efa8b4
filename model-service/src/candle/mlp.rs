//! The multi-layer perceptron for tables: linear layers with `ReLU` between them and a softmax at
//! the end, unless they predict one number.

use std::borrow::Cow;
use std::collections::HashMap;

use candle_core::{Device, Tensor};
use telemetry::Span;

use super::dense::{Dense, mark_overflows, with_slices};
use crate::model::{Batch, ComputeError, Model, Probabilities, Rows};

/// Multiplications that take some ten microseconds.
const SHORT: usize = 50_000;

/// A trained network, read from `linear_<n>.weight` \[outputs, inputs\] and `linear_<n>.bias`
/// \[outputs\].
#[derive(Debug)]
pub struct Mlp {
    layers: Vec<Layer>,
    inputs: usize,
    classes: usize,
    /// For one row.
    multiplications: usize,
}

#[derive(Debug)]
struct Layer {
    span: Cow<'static, str>,
    /// Transposed against the file: \[inputs, outputs\], as [`Dense`] wants it.
    weight: Tensor,
    bias: Tensor,
    /// The last layer has no `ReLU` before the softmax.
    is_last: bool,
}

impl Mlp {
    /// Reads the weights; `widths` are the values per row at the input and after each layer.
    ///
    /// A tensor that is missing, has another shape or is not finite is an error.
    pub fn from_safetensors(weights: &[u8], widths: &[usize]) -> Result<Self, ComputeError> {
        let tensors = candle_core::safetensors::load_buffer(weights, &Device::Cpu)
            .map_err(|error| ComputeError::Weights(error.into()))?;
        Self::from_tensors(&tensors, widths)
    }

    /// The same from the tensors of a file, which may have others, too.
    pub(super) fn from_tensors(
        tensors: &HashMap<String, Tensor>,
        widths: &[usize],
    ) -> Result<Self, ComputeError> {
        let mut layers = Vec::new();
        for (index, pair) in widths.windows(2).enumerate() {
            let name = layer_name(index);
            let weight = read_tensor(tensors, &format!("{name}.weight"), &[pair[1], pair[0]])?;
            let bias = read_tensor(tensors, &format!("{name}.bias"), &[pair[1]])?;
            let weight = weight.t().and_then(|weight| weight.contiguous());
            layers.push((weight.map_err(compute)?, bias));
        }
        Ok(Self::from_layers(layers, widths))
    }

    pub(super) fn from_layers(layers: Vec<(Tensor, Tensor)>, widths: &[usize]) -> Self {
        let count = layers.len();
        let layers = layers
            .into_iter()
            .enumerate()
            .map(|(index, (weight, bias))| Layer {
                span: span_name(index),
                weight,
                bias,
                is_last: index + 1 == count,
            })
            .collect();
        Self {
            layers,
            inputs: widths.first().copied().unwrap_or(0),
            multiplications: widths.windows(2).map(|pair| pair[0] * pair[1]).sum(),
            classes: widths.last().copied().unwrap_or(0),
        }
    }
}

impl Model for Mlp {
    fn probabilities(&self, batch: &Batch) -> Result<Probabilities, ComputeError> {
        let Batch::Rows(rows) = batch else {
            return Err(ComputeError::Input);
        };
        self.forward_traced(self.input(rows)?, vec![true; rows.len()])
    }

    fn is_short(&self, batch: &Batch) -> bool {
        batch.len().saturating_mul(self.multiplications) <= SHORT
    }
}

impl Mlp {
    /// [`Model::probabilities`] without spans, for trainings, which evaluate the model too often
    /// for spans.
    pub fn probabilities_untraced(&self, rows: &Rows) -> Result<Probabilities, ComputeError> {
        self.forward_untraced(self.input(rows)?, vec![true; rows.len()])
    }

    /// From a tensor \[rows, inputs\]; a row that is not `computable` stays NaN.
    pub(super) fn forward_untraced(
        &self,
        x: Tensor,
        computable: Vec<bool>,
    ) -> Result<Probabilities, ComputeError> {
        self.forward(x, computable, Layer::apply)
    }

    /// The same with a span per layer.
    pub(super) fn forward_traced(
        &self,
        x: Tensor,
        computable: Vec<bool>,
    ) -> Result<Probabilities, ComputeError> {
        self.forward(x, computable, |layer, x| {
            let _span = Span::start(layer.span.clone(), Vec::new());
            layer.apply(x)
        })
    }

    fn input(&self, rows: &Rows) -> Result<Tensor, ComputeError> {
        if rows.width() != self.inputs {
            return Err(ComputeError::Width {
                expected: self.inputs,
                actual: rows.width(),
            });
        }
        let shape = (rows.len(), rows.width());
        Tensor::from_slice(rows.values(), shape, &Device::Cpu).map_err(compute)
    }

    fn forward(
        &self,
        mut x: Tensor,
        mut computable: Vec<bool>,
        apply: impl Fn(&Layer, &Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<Probabilities, ComputeError> {
        for layer in &self.layers {
            x = apply(layer, &x).map_err(compute)?;
        }
        // What overflows in a layer is NaN in all that follow.
        mark_overflows(&x, &mut computable).map_err(compute)?;
        let logits = with_slices([&x], |[x]| x.to_vec());
        let probabilities =
            Probabilities::from_outputs(logits.map_err(compute)?, self.classes.max(1));
        Ok(probabilities.without(&computable))
    }
}

impl Layer {
    fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        if self.is_last {
            Dense::plain(x, &self.weight, &self.bias)
        } else {
            Dense::rectified(x, &self.weight, &self.bias)
        }
    }
}

/// The name of a layer's span, which every forward pass needs, so that of the first ones is a constant.
fn span_name(index: usize) -> Cow<'static, str> {
    const FIRST: [&str; 4] = [
        "layer linear_1",
        "layer linear_2",
        "layer linear_3",
        "layer linear_4",
    ];
    let first = FIRST.get(index).copied().map(Cow::Borrowed);
    first.unwrap_or_else(|| Cow::Owned(format!("layer {}", layer_name(index))))
}

/// `linear_1`, `linear_2`, … in the weights file and in the names of spans.
pub(super) fn layer_name(index: usize) -> String {
    format!("linear_{}", index + 1)
}

/// What is wrong with a tensor that is not there.
pub(super) const MISSING: &str = "is missing";

/// The tensor of that name, if it has that shape and is finite.
pub(super) fn read_tensor(
    tensors: &HashMap<String, Tensor>,
    name: &str,
    shape: &[usize],
) -> Result<Tensor, ComputeError> {
    let fault = match tensors.get(name) {
        None => MISSING.to_owned(),
        Some(tensor) if tensor.dims() != shape => {
            format!("has the shape {:?}, and {shape:?} is needed", tensor.dims())
        }
        Some(tensor) if !is_finite(tensor) => "has a value that is no finite f32".to_owned(),
        Some(tensor) => return Ok(tensor.clone()),
    };
    Err(ComputeError::tensor(name, fault))
}

fn is_finite(tensor: &Tensor) -> bool {
    let values = tensor
        .flatten_all()
        .and_then(|values| values.to_vec1::<f32>());
    values.is_ok_and(|values| values.iter().all(|value| value.is_finite()))
}

pub(super) fn compute(error: candle_core::Error) -> ComputeError {
    ComputeError::Compute(error.into())
}
