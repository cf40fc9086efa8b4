//! How far a window is from the reference: each thing of it, by each method.

use std::sync::Arc;

use jiff::Timestamp;

use super::reference::{Column, Labels};
use super::{divergence, threshold};

/// A window that ended.
#[derive(Clone, Debug)]
pub(crate) struct ScoredWindow {
    /// From 1, since the start of this process.
    pub(crate) number: u64,
    pub(crate) rows: usize,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
    pub(crate) scores: Vec<Score>,
    /// Requests that show the drift; none without drift.
    pub(crate) trace_ids: Vec<String>,
}

/// A score with what is needed to judge it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Score {
    /// Name of the feature, or the attribute's name of the confidence or the label.
    pub(crate) feature: Arc<str>,
    pub(crate) method: Method,
    pub(crate) value: f64,
    /// A larger score is drift; none where the score only informs.
    pub(crate) threshold: Option<f64>,
    /// Values in the window.
    pub(crate) rows: usize,
    pub(crate) reference_rows: usize,
    /// Bins of the comparison, where they matter.
    pub(crate) bins: Option<usize>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Psi,
    KsD,
    JsDistanceBase2,
    OutOfRangeShare,
    MissingShare,
}

impl Score {
    pub(crate) fn is_drift(&self) -> bool {
        self.excess() > 1.0
    }

    /// The score in units of its threshold; 0 without one.
    pub(super) fn excess(&self) -> f64 {
        match self.threshold {
            // All values of a small window may be possible by chance.
            Some(0.0) if self.value > 0.0 => f64::INFINITY,
            Some(threshold) if threshold > 0.0 => self.value / threshold,
            _ => 0.0,
        }
    }
}

impl Method {
    /// The value of `ml.drift.method`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Psi => "psi",
            Self::KsD => "ks_d",
            Self::JsDistanceBase2 => "js_distance_base2",
            Self::OutOfRangeShare => "out_of_range_share",
            Self::MissingShare => "missing_share",
        }
    }
}

impl Column {
    /// The scores of values by the counts of their bins.
    pub(super) fn distribution(&self, counts: &[usize], alpha: f64) -> Vec<Score> {
        let values: usize = counts.iter().sum();
        let rows = values as f64;
        let shares: Vec<f64> = counts.iter().map(|count| *count as f64 / rows).collect();
        let mut scores = Vec::with_capacity(4);
        if self.joined_bins > 1 {
            let (expected, seen) = (self.join_shares(&self.shares), self.join_shares(&shares));
            let most = threshold::psi(self.rows, rows, self.joined_bins, self.quantile);
            let psi = divergence::psi(&expected, &seen);
            let distance = divergence::js_distance_base2(&expected, &seen);
            scores.push(self.score(Method::Psi, psi, Some(most), values));
            scores.push(self.score(Method::JsDistanceBase2, distance, None, values));
        }
        let d = divergence::ks_d(&self.shares, &shares);
        let most = threshold::ks_d(self.rows, rows, alpha);
        scores.push(self.score(Method::KsD, d, Some(most), values));
        if self.has_range {
            let outside = shares[0] + shares[shares.len() - 1];
            let most = threshold::out_of_range_share(self.rows, rows, alpha);
            scores.push(self.score(Method::OutOfRangeShare, outside, Some(most), values));
        }
        scores
    }

    /// The score of `missing` values in as many rows.
    pub(super) fn missing(&self, missing: u64, rows: usize, alpha: f64) -> Score {
        let before = self.rows + self.missing as f64;
        let most = threshold::missing_share(self.missing, before, rows as f64, alpha);
        let share = missing as f64 / rows as f64;
        let mut score = self.score(Method::MissingShare, share, Some(most), rows);
        score.reference_rows = before as usize;
        score
    }

    fn score(&self, method: Method, value: f64, threshold: Option<f64>, rows: usize) -> Score {
        let binned = matches!(method, Method::Psi | Method::JsDistanceBase2);
        Score {
            feature: Arc::clone(&self.name),
            method,
            value,
            threshold,
            rows,
            reference_rows: self.rows as usize,
            bins: binned.then_some(self.joined_bins),
        }
    }
}

impl Labels {
    /// The scores of predicted classes by their counts.
    pub(super) fn distribution(&self, counts: &[usize]) -> [Score; 2] {
        let rows: usize = counts.iter().sum();
        let shares: Vec<f64> = counts
            .iter()
            .map(|count| *count as f64 / rows as f64)
            .collect();
        let bins = shares.len();
        let most = threshold::psi(self.rows, rows as f64, bins, self.quantile);
        let psi = divergence::psi(&self.shares, &shares);
        let distance = divergence::js_distance_base2(&self.shares, &shares);
        [
            (Method::Psi, psi, Some(most)),
            (Method::JsDistanceBase2, distance, None),
        ]
        .map(|(method, value, threshold)| Score {
            feature: Arc::clone(&self.name),
            method,
            value,
            threshold,
            rows,
            reference_rows: self.rows as usize,
            bins: Some(bins),
        })
    }
}
