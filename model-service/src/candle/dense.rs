//! `y = x·w + b` as one Candle operation that stays on the calling thread.
//!
//! Candle's matmul looks up the number of threads at every call. Without `RAYON_NUM_THREADS` that
//! reads and parses /proc/cpuinfo: 60 µs for a layer of 11 by 32 on two cores, more with more cores
//! (seen with candle-core 0.11.1, `utils::get_num_threads`). The programs set the variable for
//! themselves (`crate::threads`), and tests do not. Candle's gemm also selects kernels by CPU, so one seed would give different
//! weights on different machines. For layers of some thousand weights these plain loops are as fast
//! as gemm, and they add in the same order everywhere.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail};

/// Inputs: `x` \[rows, inputs\], `w` \[inputs, outputs\], `b` \[outputs\], all f32 and contiguous.
pub(super) struct Dense {
    /// False for the first layer, whose input is data.
    pub(super) input_gradient: bool,
}

/// The same followed by `ReLU`, for inference only: one operation instead of two.
///
/// What is not finite becomes NaN, and so does all that follows from it. Candle's own `ReLU` would
/// make 0 of NaN and -∞, and the row a prediction of nothing.
struct RectifiedDense;

impl Dense {
    /// Applies the layer and records it for the backward pass.
    pub(super) fn tracked(self, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
        x.apply_op3(w, b, self)
    }

    /// Applies the layer for inference only.
    pub(super) fn plain(x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
        let dense = Self {
            input_gradient: false,
        };
        x.apply_op3_no_bwd(w, b, &dense)
    }

    /// Applies the layer and `ReLU` for inference only.
    pub(super) fn rectified(x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
        x.apply_op3_no_bwd(w, b, &RectifiedDense)
    }
}

/// Clears the flag of every row of `y` \[rows, outputs\] that holds NaN or an infinity.
pub(super) fn mark_overflows(y: &Tensor, computable: &mut [bool]) -> Result<()> {
    let outputs = y.dim(1)?;
    with_slices([y], |[y]| {
        for (row, computable) in y.chunks_exact(outputs).zip(computable) {
            *computable &= row.iter().all(|value| value.is_finite());
        }
    })
}

impl CustomOp3 for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (y, shape) = product((x, x_layout), (w, w_layout), (b, b_layout))?;
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _b: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (rows, inputs) = x.dims2()?;
        let outputs = w.dim(1)?;
        let device = x.device();
        let gradient = gradient.contiguous()?;
        let (dx, dw, db) = with_slices([x, w, &gradient], |[x, w, g]| {
            let mut dx = Vec::with_capacity(if self.input_gradient {
                rows * inputs
            } else {
                0
            });
            let mut dw = vec![0.0; inputs * outputs];
            let mut db = vec![0.0; outputs];
            for (row, g) in x.chunks_exact(inputs).zip(g.chunks_exact(outputs)) {
                add_scaled(&mut db, 1.0, g);
                for (value, dw) in row.iter().zip(dw.chunks_exact_mut(outputs)) {
                    add_scaled(dw, *value, g);
                }
                if self.input_gradient {
                    dx.extend(w.chunks_exact(outputs).map(|weights| dot(weights, g)));
                }
            }
            (dx, dw, db)
        })?;
        let dx = if self.input_gradient {
            Some(Tensor::from_vec(dx, (rows, inputs), device)?)
        } else {
            None
        };
        Ok((
            dx,
            Some(Tensor::from_vec(dw, (inputs, outputs), device)?),
            Some(Tensor::from_vec(db, outputs, device)?),
        ))
    }
}

impl CustomOp3 for RectifiedDense {
    fn name(&self) -> &'static str {
        "rectified-dense"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (mut y, shape) = product((x, x_layout), (w, w_layout), (b, b_layout))?;
        for value in &mut y {
            *value = if value.is_finite() {
                value.max(0.0)
            } else {
                f32::NAN
            };
        }
        Ok((CpuStorage::F32(y), shape))
    }
}

type Input<'a> = (&'a CpuStorage, &'a Layout);

/// `x·w + b` and its shape.
fn product(
    (x, x_layout): Input<'_>,
    (w, w_layout): Input<'_>,
    (b, b_layout): Input<'_>,
) -> Result<(Vec<f32>, Shape)> {
    let (rows, inputs) = x_layout.shape().dims2()?;
    let (w_inputs, outputs) = w_layout.shape().dims2()?;
    if inputs != w_inputs || b_layout.shape().elem_count() != outputs {
        bail!(
            "dense: {:?} · {:?} + {:?}",
            x_layout.shape(),
            w_layout.shape(),
            b_layout.shape()
        );
    }
    let (x, w, b) = (
        contiguous(x, x_layout)?,
        contiguous(w, w_layout)?,
        contiguous(b, b_layout)?,
    );
    let mut y = Vec::with_capacity(rows * outputs);
    for row in x.chunks_exact(inputs) {
        let start = y.len();
        y.extend_from_slice(b);
        for (value, weights) in row.iter().zip(w.chunks_exact(outputs)) {
            add_scaled(&mut y[start..], *value, weights);
        }
    }
    Ok((y, (rows, outputs).into()))
}

/// `to += factor · from`, as an indexed loop because that is fast in unoptimised builds, too.
pub(super) fn add_scaled(to: &mut [f32], factor: f32, from: &[f32]) {
    let to = &mut to[..from.len()];
    let mut index = 0;
    while index < from.len() {
        to[index] += factor * from[index];
        index += 1;
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let b = &b[..a.len()];
    let mut sum = 0.0;
    let mut index = 0;
    while index < a.len() {
        sum += a[index] * b[index];
        index += 1;
    }
    sum
}

pub(super) fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("dense: the input is not contiguous");
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

pub(super) fn with_slices<T, const N: usize>(
    tensors: [&Tensor; N],
    compute: impl FnOnce([&[f32]; N]) -> T,
) -> Result<T> {
    let storages = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&storages) {
        let Storage::Cpu(storage) = &**storage else {
            bail!("dense: the tensor is not on the CPU");
        };
        *slice = contiguous(storage, layout)?;
    }
    Ok(compute(slices))
}
