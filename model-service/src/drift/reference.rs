//! What windows are compared with: the manifest's reference profile, with the thresholds that
//! depend on it.

use std::sync::Arc;

use super::threshold;
use crate::repository::{FeatureProfile, Manifest};

/// Confidence, number and label among the names of the features: those of their attributes, which no
/// column of a table has.
const CONFIDENCE: &str = telemetry::attr::ML_OUTPUT_CONFIDENCE;
const VALUE: &str = telemetry::attr::ML_OUTPUT_VALUE;
const LABEL: &str = telemetry::attr::ML_OUTPUT_LABEL;

/// Bins that hold a smaller share of the reference are joined with the next one: χ² fits badly
/// where a window has only a few rows.
const LEAST_SHARE: f64 = 0.05;

/// The reference of a model's version.
#[derive(Debug)]
pub(super) struct Reference {
    /// The features in the order of the model, and last the confidence or the number that is
    /// predicted.
    pub(super) columns: Vec<Column>,
    pub(super) labels: Labels,
    /// The probability with which a single comparison may exceed its threshold by chance.
    pub(super) alpha: f64,
}

/// The distribution of a feature, of the confidence, or of the predicted number.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: Arc<str>,
    /// Edges of the bins: the smallest value, the inner deciles, and the largest value, in the
    /// precision of the model's inputs: JSON may change the last bit of an f64.
    edges: Vec<f32>,
    largest: f32,
    /// Share of each bin; those before the smallest and after the largest value are empty.
    pub(super) shares: Vec<f64>,
    /// The joined bin of each bin.
    joined: Vec<usize>,
    /// How many joined bins there are.
    pub(super) joined_bins: usize,
    /// Of χ² with a degree of freedom less than there are joined bins.
    pub(super) quantile: f64,
    /// Rows that have a value.
    pub(super) rows: f64,
    pub(super) missing: u64,
    /// Whether the range is known.
    pub(super) has_range: bool,
    /// Whether a value can be missing.
    pub(super) can_miss: bool,
}

/// The distribution of the predicted classes.
#[derive(Debug)]
pub(super) struct Labels {
    pub(super) name: Arc<str>,
    pub(super) shares: Vec<f64>,
    pub(super) quantile: f64,
    pub(super) rows: f64,
}

impl Reference {
    /// The reference with thresholds for one false alarm in `windows`.
    pub(super) fn new(manifest: &Manifest, windows: u32) -> Self {
        let (metrics, profile) = (&manifest.metrics, &manifest.reference);
        let is_text = manifest.text.is_some();
        // The profile of texts is that of the validation part.
        let rows = if is_text {
            metrics.validation_rows
        } else {
            metrics.training_rows
        };
        let features = profile.features.iter();
        let mut columns: Vec<Column> = features
            .map(|feature| Column::of_feature(feature, rows as u64, !is_text))
            .collect();
        let predicted = metrics.validation_rows as f64;
        columns.push(match &profile.values {
            Some(values) => {
                let mut column = Column::of_feature(values, metrics.validation_rows as u64, false);
                column.name = VALUE.into();
                column
            }
            None => Column::of_confidence(&profile.confidence_deciles, predicted),
        });
        let mut shares = profile.class_shares.clone();
        shares.resize(manifest.classes.len(), 0.0);
        let labels = Labels {
            name: LABEL.into(),
            shares,
            quantile: 0.0,
            rows: predicted,
        };
        let comparisons: usize = columns.iter().map(Column::comparisons).sum();
        let mut reference = Self {
            columns,
            labels,
            alpha: 1.0 / f64::from(windows) / (comparisons + 1) as f64,
        };
        reference.set_quantiles();
        reference
    }

    fn set_quantiles(&mut self) {
        let of_bins = |bins: usize| match bins {
            0 | 1 => 0.0,
            bins => threshold::chi_square_quantile(bins - 1, self.alpha),
        };
        for column in &mut self.columns {
            column.quantile = of_bins(column.joined_bins);
        }
        self.labels.quantile = of_bins(self.labels.shares.len());
    }
}

impl Column {
    fn of_feature(profile: &FeatureProfile, rows: u64, can_miss: bool) -> Self {
        let present = rows.saturating_sub(profile.missing).max(1) as f64;
        let range = Some((profile.min as f32, profile.max as f32));
        let mut column = Self::new(&profile.name, &profile.decile_edges, range, present);
        for (share, profiled) in column.shares[1..].iter_mut().zip(&profile.decile_shares) {
            *share = *profiled;
        }
        column.missing = profile.missing;
        column.can_miss = can_miss;
        column.join();
        column
    }

    /// The deciles of the confidence have a tenth between them; its range is not known.
    fn of_confidence(deciles: &[f64], rows: f64) -> Self {
        let mut column = Self::new(CONFIDENCE, deciles, None, rows.max(1.0));
        column.shares[1..=deciles.len() + 1].fill(1.0 / (deciles.len() + 1) as f64);
        column.collapse_ties();
        column.join();
        column
    }

    fn new(name: &str, deciles: &[f64], range: Option<(f32, f32)>, rows: f64) -> Self {
        let (smallest, largest) = range.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let inner = deciles.iter().map(|edge| *edge as f32);
        Self {
            name: name.into(),
            edges: std::iter::once(smallest).chain(inner).collect(),
            largest,
            shares: vec![0.0; deciles.len() + 3],
            joined: Vec::new(),
            joined_bins: 0,
            quantile: 0.0,
            rows,
            missing: 0,
            has_range: range.is_some(),
            can_miss: false,
        }
    }

    /// The bin of a value: 0 before the smallest value of the reference, the last one after the
    /// largest. A value on an edge belongs to the bin above.
    pub(super) fn bin(&self, value: f32) -> usize {
        if value > self.largest {
            return self.shares.len() - 1;
        }
        self.edges.partition_point(|edge| *edge <= value)
    }

    pub(super) fn is_outside(&self, bin: usize) -> bool {
        bin == 0 || bin + 1 == self.shares.len()
    }

    pub(super) fn joined_bin(&self, bin: usize) -> usize {
        self.joined[bin]
    }

    /// The shares of the joined bins.
    pub(super) fn join_shares(&self, shares: &[f64]) -> Vec<f64> {
        let mut joined = vec![0.0; self.joined_bins];
        for (bin, share) in self.joined.iter().zip(shares) {
            joined[*bin] += share;
        }
        joined
    }

    /// A value on several equal edges is in the bin above all of them.
    fn collapse_ties(&mut self) {
        for bin in 1..self.edges.len() {
            if self.edges[bin - 1] >= self.edges[bin] {
                self.shares[bin + 1] += std::mem::take(&mut self.shares[bin]);
            }
        }
    }

    fn join(&mut self) {
        let (mut at, mut share) = (0, 0.0);
        for bin in &self.shares {
            self.joined.push(at);
            share += bin;
            if share >= LEAST_SHARE {
                (at, share) = (at + 1, 0.0);
            }
        }
        // What is left over belongs to the bin before.
        let last = at.saturating_sub(1);
        for bin in &mut self.joined {
            *bin = (*bin).min(last);
        }
        self.joined_bins = last + 1;
    }

    /// How many scores have a threshold.
    fn comparisons(&self) -> usize {
        usize::from(self.joined_bins > 1)
            + usize::from(self.shares.len() > 3)
            + usize::from(self.has_range)
            + usize::from(self.can_miss)
    }
}
