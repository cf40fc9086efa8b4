//! Training of the perceptron: seeded start weights, `AdamW` steps, and the weights as a
//! safetensors file.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use safetensors::tensor::TensorView;

use super::dense::Dense;
use super::mlp::{Mlp, layer_name};
use crate::model::{ComputeError, Rows};

/// A network in training.
pub struct Fit {
    layers: Vec<(Var, Var)>,
    widths: Vec<usize>,
    optimizer: AdamW,
}

/// The shape of the network and the parameters of the optimizer.
#[derive(Clone, Debug)]
pub struct FitOptions {
    /// Values per row at the input and after each layer; the last is the number of classes.
    pub widths: Vec<usize>,
    pub learning_rate: f64,
    pub weight_decay: f64,
    /// Determines the start weights; Candle's generator for the CPU cannot be seeded.
    pub seed: u64,
}

/// Loss and gradient of one mini batch, from before its step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Mean cross entropy, nats per row.
    pub loss: f64,
    /// Euclidean length of the gradient over all weights.
    pub gradient_norm: f64,
}

impl Fit {
    pub fn new(options: &FitOptions) -> std::result::Result<Self, ComputeError> {
        let mut random = ChaCha8Rng::seed_from_u64(options.seed);
        let layers = options.widths.windows(2).map(|pair| {
            let (inputs, outputs) = (pair[0], pair[1]);
            // Uniform within 1/√inputs keeps the scale of the values from layer to layer (LeCun et
            // al. 1998, section 4.6).
            let bound = 1.0 / (inputs as f32).sqrt();
            let mut uniform = |count: usize| -> Vec<f32> {
                (0..count)
                    .map(|_| random.random_range(-bound..bound))
                    .collect()
            };
            let weight =
                Tensor::from_vec(uniform(inputs * outputs), (inputs, outputs), &Device::Cpu)?;
            let bias = Tensor::from_vec(uniform(outputs), outputs, &Device::Cpu)?;
            Ok((Var::from_tensor(&weight)?, Var::from_tensor(&bias)?))
        });
        let layers = layers.collect::<Result<Vec<_>>>().map_err(compute)?;
        let parameters = ParamsAdamW {
            lr: options.learning_rate,
            weight_decay: options.weight_decay,
            ..ParamsAdamW::default()
        };
        let variables = layers
            .iter()
            .flat_map(|(w, b)| [w.clone(), b.clone()])
            .collect();
        Ok(Self {
            optimizer: AdamW::new(variables, parameters).map_err(compute)?,
            widths: options.widths.clone(),
            layers,
        })
    }

    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.optimizer.set_learning_rate(learning_rate);
    }

    /// One step of `AdamW` on the mean cross entropy of a mini batch.
    pub fn step(
        &mut self,
        rows: &Rows,
        classes: &[u32],
    ) -> std::result::Result<Step, ComputeError> {
        self.try_step(rows, classes).map_err(compute)
    }

    /// A copy of the network as it is now.
    pub fn model(&self) -> std::result::Result<Mlp, ComputeError> {
        Mlp::from_safetensors(&self.weights()?, &self.widths)
    }

    /// The weights as a safetensors file; equal weights give equal bytes.
    pub fn weights(&self) -> std::result::Result<Vec<u8>, ComputeError> {
        let mut tensors = Vec::new();
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            let name = layer_name(index);
            tensors.push((
                format!("{name}.weight"),
                plain(&weight.t().map_err(compute)?)?,
            ));
            tensors.push((format!("{name}.bias"), plain(bias)?));
        }
        let mut views = Vec::new();
        for (name, (shape, bytes)) in &tensors {
            let view = TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes)
                .map_err(|error| ComputeError::Weights(error.into()))?;
            views.push((name.as_str(), view));
        }
        safetensors::serialize(views, None).map_err(|error| ComputeError::Weights(error.into()))
    }

    fn try_step(&mut self, rows: &Rows, classes: &[u32]) -> Result<Step> {
        let mut x = Tensor::from_slice(rows.values(), (rows.len(), rows.width()), &Device::Cpu)?;
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            if index > 0 {
                x = x.relu()?;
            }
            let dense = Dense {
                input_gradient: index > 0,
            };
            x = dense.tracked(&x, weight, bias)?;
        }
        let classes = Tensor::from_slice(classes, classes.len(), &Device::Cpu)?;
        let loss = candle_nn::loss::cross_entropy(&x, &classes)?;
        let gradients = loss.backward()?;
        let mut squares = 0.0;
        for variable in self.layers.iter().flat_map(|(w, b)| [w, b]) {
            if let Some(gradient) = gradients.get(variable) {
                let sum = gradient.sqr()?.sum_all()?;
                squares += f64::from(sum.to_scalar::<f32>()?);
            }
        }
        self.optimizer.step(&gradients)?;
        Ok(Step {
            loss: loss.to_dtype(DType::F64)?.to_scalar()?,
            gradient_norm: squares.sqrt(),
        })
    }
}

/// Shape and little-endian bytes of a tensor.
fn plain(tensor: &Tensor) -> std::result::Result<(Vec<usize>, Vec<u8>), ComputeError> {
    let values = tensor
        .flatten_all()
        .and_then(|values| values.to_vec1::<f32>());
    let bytes = values
        .map_err(compute)?
        .into_iter()
        .flat_map(f32::to_le_bytes);
    Ok((tensor.dims().to_vec(), bytes.collect()))
}

fn compute(error: candle_core::Error) -> ComputeError {
    ComputeError::Compute(error.into())
}
