//! Training of the perceptron: seeded start weights, `AdamW` steps, and the weights as a
//! safetensors file.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use safetensors::tensor::TensorView;

use super::dense::Dense;
use super::mlp::{Mlp, compute, layer_name, read_tensor};
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
    /// Mean loss per row: cross entropy in nats, or the squared error of a number.
    pub loss: f64,
    /// Euclidean length of the gradient over all weights.
    pub gradient_norm: f64,
}

/// What the rows of a mini batch should become.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    Classes(Vec<u32>),
    Numbers(Vec<f32>),
}

impl Targets {
    fn loss(&self, outputs: &Tensor) -> Result<Tensor> {
        match self {
            Self::Classes(classes) => {
                let classes = Tensor::from_slice(classes, classes.len(), &Device::Cpu)?;
                candle_nn::loss::cross_entropy(outputs, &classes)
            }
            Self::Numbers(numbers) => {
                let numbers = Tensor::from_slice(numbers, (numbers.len(), 1), &Device::Cpu)?;
                candle_nn::loss::mse(outputs, &numbers)
            }
        }
    }
}

impl Fit {
    pub fn new(options: &FitOptions) -> std::result::Result<Self, ComputeError> {
        let mut random = ChaCha8Rng::seed_from_u64(options.seed);
        let layers = options.widths.windows(2).map(|pair| {
            let (inputs, outputs) = (pair[0], pair[1]);
            // Uniform within 1/√inputs keeps the scale of the values from layer to layer (LeCun et
            // al. 1998, section 4.6).
            let bound = 1.0 / (inputs as f32).sqrt();
            start_layer(inputs, outputs, bound, &mut random)
        });
        let layers = layers.collect::<Result<Vec<_>>>().map_err(compute)?;
        Ok(Self {
            optimizer: optimizer(&layers, options).map_err(compute)?,
            widths: options.widths.clone(),
            layers,
        })
    }

    /// The same network with the weights of a file, as [`Fit::weights`] gives it.
    ///
    /// A tensor that is missing, has another shape or is not finite is an error.
    pub fn with_weights(mut self, weights: &[u8]) -> std::result::Result<Self, ComputeError> {
        let tensors = candle_core::safetensors::load_buffer(weights, &Device::Cpu)
            .map_err(|error| ComputeError::Weights(error.into()))?;
        for (index, (weight, bias)) in self.layers.iter_mut().enumerate() {
            let (name, pair) = (layer_name(index), &self.widths[index..index + 2]);
            let read = read_tensor(&tensors, &format!("{name}.weight"), &[pair[1], pair[0]])?;
            let read = read
                .t()
                .and_then(|read| read.contiguous())
                .map_err(compute)?;
            weight.set(&read).map_err(compute)?;
            let read = read_tensor(&tensors, &format!("{name}.bias"), &[pair[1]])?;
            bias.set(&read).map_err(compute)?;
        }
        Ok(self)
    }

    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.optimizer.set_learning_rate(learning_rate);
    }

    /// One step of `AdamW` on the mean loss of a mini batch.
    pub fn step(
        &mut self,
        rows: &Rows,
        targets: &Targets,
    ) -> std::result::Result<Step, ComputeError> {
        let x = Tensor::from_slice(rows.values(), (rows.len(), rows.width()), &Device::Cpu);
        let step = x.and_then(|x| self.learn(x, targets));
        step.map(|(step, _)| step).map_err(compute)
    }

    /// A copy of the network as it is now.
    pub fn model(&self) -> std::result::Result<Mlp, ComputeError> {
        Mlp::from_safetensors(&self.weights()?, &self.widths)
    }

    /// The weights as a safetensors file; equal weights give equal bytes.
    pub fn weights(&self) -> std::result::Result<Vec<u8>, ComputeError> {
        serialize(&self.tensors()?)
    }

    pub(super) fn tensors(&self) -> std::result::Result<Vec<NamedTensor>, ComputeError> {
        let mut tensors = Vec::new();
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            let name = layer_name(index);
            let weight = weight.t().map_err(compute)?;
            tensors.push(NamedTensor::of(format!("{name}.weight"), &weight)?);
            tensors.push(NamedTensor::of(format!("{name}.bias"), bias)?);
        }
        Ok(tensors)
    }

    /// One step from the input tensor. Also returns the gradients, for variables that come before
    /// these layers.
    pub(super) fn learn(&mut self, mut x: Tensor, targets: &Targets) -> Result<(Step, GradStore)> {
        let input_gradient = x.track_op();
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            if index > 0 {
                x = x.relu()?;
            }
            let dense = Dense {
                input_gradient: index > 0 || input_gradient,
            };
            x = dense.tracked(&x, weight, bias)?;
        }
        let loss = targets.loss(&x)?;
        let gradients = loss.backward()?;
        let squares = squares(&self.layers, &gradients)?;
        self.optimizer.step(&gradients)?;
        let step = Step {
            loss: loss.to_dtype(DType::F64)?.to_scalar()?,
            gradient_norm: squares.sqrt(),
        };
        Ok((step, gradients))
    }
}

/// A weight \[inputs, outputs\] and a bias, uniform within `bound`.
pub(super) fn start_layer(
    inputs: usize,
    outputs: usize,
    bound: f32,
    random: &mut ChaCha8Rng,
) -> Result<(Var, Var)> {
    let mut uniform = |count: usize| -> Vec<f32> {
        (0..count)
            .map(|_| random.random_range(-bound..bound))
            .collect()
    };
    let weight = Tensor::from_vec(uniform(inputs * outputs), (inputs, outputs), &Device::Cpu)?;
    let bias = Tensor::from_vec(uniform(outputs), outputs, &Device::Cpu)?;
    Ok((Var::from_tensor(&weight)?, Var::from_tensor(&bias)?))
}

pub(super) fn optimizer(layers: &[(Var, Var)], options: &FitOptions) -> Result<AdamW> {
    let parameters = ParamsAdamW {
        lr: options.learning_rate,
        weight_decay: options.weight_decay,
        ..ParamsAdamW::default()
    };
    let variables = layers.iter().flat_map(|(w, b)| [w.clone(), b.clone()]);
    AdamW::new(variables.collect(), parameters)
}

/// The squared length of the layers' gradient.
pub(super) fn squares(layers: &[(Var, Var)], gradients: &GradStore) -> Result<f64> {
    let mut squares = 0.0;
    for variable in layers.iter().flat_map(|(w, b)| [w, b]) {
        if let Some(gradient) = gradients.get(variable) {
            let sum = gradient.sqr()?.sum_all()?;
            squares += f64::from(sum.to_scalar::<f32>()?);
        }
    }
    Ok(squares)
}

/// A tensor as it is written to a file.
pub(super) struct NamedTensor {
    name: String,
    shape: Vec<usize>,
    dtype: safetensors::Dtype,
    /// Little-endian.
    bytes: Vec<u8>,
}

impl NamedTensor {
    pub(super) fn of(name: String, tensor: &Tensor) -> std::result::Result<Self, ComputeError> {
        let values = tensor
            .flatten_all()
            .and_then(|values| values.to_vec1::<f32>());
        Ok(Self::numbers(
            name,
            tensor.dims().to_vec(),
            &values.map_err(compute)?,
        ))
    }

    pub(super) fn numbers(name: String, shape: Vec<usize>, values: &[f32]) -> Self {
        Self {
            name,
            shape,
            dtype: safetensors::Dtype::F32,
            bytes: values.iter().copied().flat_map(f32::to_le_bytes).collect(),
        }
    }

    pub(super) fn indices(name: String, shape: Vec<usize>, values: &[u32]) -> Self {
        Self {
            name,
            shape,
            dtype: safetensors::Dtype::U32,
            bytes: values.iter().copied().flat_map(u32::to_le_bytes).collect(),
        }
    }
}

/// Rows, their classes and their order in every epoch, with the network before its first step: a
/// safetensors file for a training that another engine does.
pub fn training_tensors(
    rows: &Rows,
    classes: &[u32],
    orders: &[u32],
    start: &Fit,
) -> std::result::Result<Vec<u8>, ComputeError> {
    let count = classes.len();
    let epochs = orders.len() / count.max(1);
    let mut tensors = start.tensors()?;
    let shape = vec![rows.len(), rows.width()];
    tensors.push(NamedTensor::numbers(
        "inputs".to_owned(),
        shape,
        rows.values(),
    ));
    tensors.push(NamedTensor::indices(
        "classes".to_owned(),
        vec![count],
        classes,
    ));
    let shape = vec![epochs, count];
    tensors.push(NamedTensor::indices("order".to_owned(), shape, orders));
    serialize(&tensors)
}

/// The content of a safetensors file; equal tensors give equal bytes.
pub(super) fn serialize(tensors: &[NamedTensor]) -> std::result::Result<Vec<u8>, ComputeError> {
    let mut views = Vec::new();
    for tensor in tensors {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)
            .map_err(|error| ComputeError::Weights(error.into()))?;
        views.push((tensor.name.as_str(), view));
    }
    safetensors::serialize(views, None).map_err(|error| ComputeError::Weights(error.into()))
}
