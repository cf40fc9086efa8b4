//! Texts of a batch, packed one after the other and split over threads.

use candle_core::Tensor;

use crate::model::Tokens;

/// Some texts of a batch.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Packed {
    pub(super) ids: Vec<u32>,
    /// Where each text ends.
    pub(super) ends: Vec<usize>,
}

/// The same texts after a layer.
#[derive(Debug)]
pub(super) struct Hidden {
    /// \[tokens, hidden\]
    pub(super) x: Tensor,
    pub(super) ends: Vec<usize>,
}

/// At most `parts` runs of neighbouring texts with about as many tokens each.
pub(super) fn split(tokens: &Tokens, parts: usize) -> Vec<Packed> {
    let total: usize = tokens.texts().map(<[u32]>::len).sum();
    let share = total.div_ceil(parts.max(1)).max(1);
    let mut split: Vec<Packed> = Vec::with_capacity(parts);
    let (mut before, mut last) = (0, None);
    for text in tokens.texts() {
        // A text belongs to the part in which its middle lies.
        let part = (before + text.len() / 2) / share;
        before += text.len();
        if last != Some(part) {
            split.push(Packed::default());
        }
        last = Some(part);
        if let Some(packed) = split.last_mut() {
            packed.ids.extend_from_slice(text);
            packed.ends.push(packed.ids.len());
        }
    }
    split
}
