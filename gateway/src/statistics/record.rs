//! The latest predictions of each id, side by side for all variants of a model.

use std::collections::{HashMap, VecDeque};

use super::VariantSummary;

/// Ids that are remembered of one model; the oldest leaves first.
pub(super) const MAX_IDS: usize = 10_000;
/// Labels that are counted separately; a model has few classes, and all further ones count as one
/// label.
const MAX_LABELS: usize = 64;
const OTHER_LABELS: &str = "(others)";
/// Variants that are counted separately, over all changes of the traffic split.
const MAX_VARIANTS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Record {
    ids: HashMap<u64, Vec<Seen>>,
    order: VecDeque<u64>,
    labels: Vec<Box<str>>,
    variants: Vec<Box<str>>,
}

/// The last prediction of one variant for one id.
#[derive(Clone, Copy, Debug)]
struct Seen {
    variant: u8,
    label: u8,
    confidence: f32,
}

impl Record {
    pub(super) fn put(&mut self, id: u64, variant: &str, label: &str, confidence: f32) {
        let Some(variant) = place(&mut self.variants, variant, MAX_VARIANTS) else {
            return;
        };
        let label = place(&mut self.labels, label, MAX_LABELS).unwrap_or(MAX_LABELS as u8);
        let seen = Seen {
            variant,
            label,
            confidence,
        };
        if let Some(known) = self.ids.get_mut(&id) {
            match known.iter_mut().find(|known| known.variant == variant) {
                Some(before) => *before = seen,
                None => known.push(seen),
            }
            return;
        }
        if self.order.len() == MAX_IDS
            && let Some(first) = self.order.pop_front()
        {
            self.ids.remove(&first);
        }
        self.ids.insert(id, vec![seen]);
        self.order.push_back(id);
    }

    /// Adds the predictions of `variant`, and how often `reference` predicted the same label for
    /// the same id.
    pub(super) fn summarize(&self, variant: &str, reference: &str, summary: &mut VariantSummary) {
        let at = |name: &str| {
            self.variants
                .iter()
                .position(|known| **known == *name)
                .map(|at| at as u8)
        };
        let (Some(variant), reference) = (at(variant), at(reference)) else {
            return;
        };
        let mut labels = [0_u64; MAX_LABELS + 1];
        let mut confidence = 0.0;
        for seen in self.ids.values() {
            let of = |variant| seen.iter().find(|seen| seen.variant == variant);
            let Some(own) = of(variant) else { continue };
            summary.predictions += 1;
            labels[usize::from(own.label)] += 1;
            confidence += f64::from(own.confidence);
            if let Some(other) = reference
                .filter(|reference| *reference != variant)
                .and_then(of)
            {
                summary.pairs += 1;
                summary.agreed += u64::from(own.label == other.label);
            }
        }
        let share = |count: u64| count as f64 / summary.predictions as f64;
        summary.confidence_mean =
            (summary.predictions > 0).then(|| confidence / summary.predictions as f64);
        let name = |at: usize| {
            self.labels
                .get(at)
                .map_or(OTHER_LABELS, |label| label)
                .to_owned()
        };
        let shares = labels
            .into_iter()
            .enumerate()
            .filter(|(_, count)| *count > 0);
        summary.label_shares = shares.map(|(at, count)| (name(at), share(count))).collect();
    }
}

/// The place of a name, a new one at the end while there is room.
fn place(names: &mut Vec<Box<str>>, name: &str, most: usize) -> Option<u8> {
    if let Some(at) = names.iter().position(|known| **known == *name) {
        return Some(at as u8);
    }
    (names.len() < most).then(|| {
        names.push(name.into());
        (names.len() - 1) as u8
    })
}
