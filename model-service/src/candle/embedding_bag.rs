//! `y = Σ weight · embedding[index] + b` over the weighted features of each text: the first layer of a
//! text model.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::dense::{add_scaled, contiguous, with_slices};
use crate::text::Bags;

/// Inputs: the embeddings \[features, width\] and `b` \[width\], both f32 and contiguous.
pub(super) struct EmbeddingBag {
    pub(super) bags: Bags,
}

impl EmbeddingBag {
    /// Applies the layer and records it for the backward pass.
    pub(super) fn tracked(self, embeddings: &Tensor, b: &Tensor) -> Result<Tensor> {
        embeddings.apply_op2(b, self)
    }

    /// Applies the layer for inference only.
    pub(super) fn plain(self, embeddings: &Tensor, b: &Tensor) -> Result<Tensor> {
        embeddings.apply_op2_no_bwd(b, &self)
    }
}

impl CustomOp2 for EmbeddingBag {
    fn name(&self) -> &'static str {
        "embedding_bag"
    }

    fn cpu_fwd(
        &self,
        embeddings: &CpuStorage,
        embeddings_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (features, width) = embeddings_layout.shape().dims2()?;
        if b_layout.shape().elem_count() != width || self.bags.highest() >= Some(features) {
            bail!(
                "embedding_bag: feature {:?} of {:?} + {:?}",
                self.bags.highest(),
                embeddings_layout.shape(),
                b_layout.shape()
            );
        }
        let (embeddings, b) = (
            contiguous(embeddings, embeddings_layout)?,
            contiguous(b, b_layout)?,
        );
        let mut y = Vec::with_capacity(self.bags.len() * width);
        for bag in self.bags.iter() {
            let start = y.len();
            y.extend_from_slice(b);
            for &(feature, weight) in bag {
                let at = feature as usize * width;
                add_scaled(&mut y[start..], weight, &embeddings[at..at + width]);
            }
        }
        Ok((CpuStorage::F32(y), (self.bags.len(), width).into()))
    }

    fn bwd(
        &self,
        embeddings: &Tensor,
        _b: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (features, width) = embeddings.dims2()?;
        let device = embeddings.device();
        let gradient = gradient.contiguous()?;
        let (de, db) = with_slices([&gradient], |[g]| {
            let mut de = vec![0.0; features * width];
            let mut db = vec![0.0; width];
            for (bag, g) in self.bags.iter().zip(g.chunks_exact(width)) {
                add_scaled(&mut db, 1.0, g);
                for &(feature, weight) in bag {
                    let at = feature as usize * width;
                    add_scaled(&mut de[at..at + width], weight, g);
                }
            }
            (de, db)
        })?;
        Ok((
            Some(Tensor::from_vec(de, (features, width), device)?),
            Some(Tensor::from_vec(db, width, device)?),
        ))
    }
}
