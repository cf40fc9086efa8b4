//! How features become the inputs of a network: a number is one input, and a category has one input
//! for each of its texts, of which its own is 1 and the others are 0.

use std::collections::BTreeMap;

use crate::feature_rows::FeatureRows;
use crate::model::Rows;
use crate::repository::Normalisation;

/// What each feature of a row is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Encoding {
    /// How many texts a feature may be; 0 for a number.
    sizes: Vec<usize>,
}

/// The position of a text that is none of the categories.
pub(crate) const UNKNOWN: f32 = -1.0;

impl Encoding {
    /// `categories` has the texts of those features that are no numbers.
    pub(crate) fn of(features: &[String], categories: &BTreeMap<String, Vec<String>>) -> Self {
        let sizes = features.iter();
        let sizes = sizes.map(|feature| categories.get(feature).map_or(0, Vec::len));
        Self {
            sizes: sizes.collect(),
        }
    }

    /// Inputs of the network.
    pub(crate) fn width(&self) -> usize {
        self.sizes.iter().map(|size| (*size).max(1)).sum()
    }

    /// Takes the rows with a category that there is not, each of which gets an error, and counts
    /// them by feature; no counts if no feature has categories.
    pub(crate) fn take_unknown(&self, rows: &mut FeatureRows) -> Vec<u64> {
        if !self.has_categories() {
            return Vec::new();
        }
        let mut counts = vec![0; self.sizes.len()];
        rows.take_unknown(|row| {
            let mut known = true;
            for ((value, size), count) in row.iter().zip(&self.sizes).zip(&mut counts) {
                if *size > 0 && !is_position(*value, *size) {
                    *count += 1;
                    known = false;
                }
            }
            known
        });
        counts
    }

    /// The inputs for rows of features, all of whose categories are known. `None` unless there is a
    /// whole number of rows.
    pub(crate) fn inputs(&self, values: Vec<f32>, normalisation: &Normalisation) -> Option<Rows> {
        let mut rows = Rows::new(values, self.sizes.len())?;
        normalisation.apply(&mut rows);
        if !self.has_categories() {
            return Some(rows);
        }
        let mut inputs = Vec::with_capacity(rows.len() * self.width());
        for row in rows.rows() {
            for (value, size) in row.iter().zip(&self.sizes) {
                if *size == 0 {
                    inputs.push(*value);
                } else {
                    let own = *value as usize;
                    inputs.extend((0..*size).map(|at| f32::from(u8::from(at == own))));
                }
            }
        }
        Rows::new(inputs, self.width())
    }

    fn has_categories(&self) -> bool {
        self.sizes.iter().any(|size| *size > 0)
    }
}

/// Whether the value is a position among so many.
fn is_position(value: f32, size: usize) -> bool {
    value.fract() == 0.0 && value >= 0.0 && value < size as f32
}

#[cfg(test)]
mod tests;
