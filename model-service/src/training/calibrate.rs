//! Calibration: one temperature makes the confidence of a classifier agree with its accuracy on
//! held-out rows.

use crate::model::{Probabilities, most_likely};
use crate::repository::{Calibration, TEMPERATURES};

/// With fewer rows a temperature would follow chance.
const FEWEST_ROWS: usize = 50;
/// Parts of the rows, each of which is judged by the temperature of the others.
const FOLDS: usize = 5;
/// Bins of the confidence, of equal width.
const BINS: usize = 10;
/// The golden section narrows the logarithm of the temperature by 0.618 at each step.
const STEPS: usize = 60;

/// What is true of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Truth {
    Class(u32),
    /// Of two classes, how far it is the second one.
    Share(f64),
}

/// One row: its logits up to a constant, which is the logarithm of its probabilities.
struct Row<'a> {
    probabilities: &'a [f32],
    truth: Truth,
}

impl Truth {
    /// How far it is this class, 0 to 1.
    fn of(self, class: usize) -> f64 {
        match (self, class) {
            (Self::Class(own), class) => f64::from(u8::from(own as usize == class)),
            (Self::Share(share), 1) => share,
            (Self::Share(share), _) => 1.0 - share,
        }
    }
}

/// The temperature for held-out rows; `None` if they are too few. It is 1 where another one does not
/// make the confidence better on rows that it was not found with.
pub(super) fn calibrate(probabilities: &Probabilities, truths: &[Truth]) -> Option<Calibration> {
    let rows: Vec<Row<'_>> = probabilities
        .rows()
        .zip(truths)
        .map(|(probabilities, truth)| Row {
            probabilities,
            truth: *truth,
        })
        .collect();
    if rows.len() < FEWEST_ROWS {
        return None;
    }
    let folds: Vec<f64> = (0..FOLDS)
        .map(|fold| {
            let others = rows.iter().enumerate().filter(|(at, _)| at % FOLDS != fold);
            best_temperature(&others.map(|(_, row)| row).collect::<Vec<_>>())
        })
        .collect();
    let cross_fitted = |at: usize| folds[at % FOLDS];
    let (before, after) = (error(&rows, |_| 1.0), error(&rows, cross_fitted));
    let loss = |temperature: &dyn Fn(usize) -> f64| {
        let rows = rows.iter().enumerate();
        rows.map(|(at, row)| row.loss(temperature(at))).sum::<f64>()
    };
    let is_better = after < before && loss(&cross_fitted) < loss(&|_| 1.0);
    let all: Vec<&Row<'_>> = rows.iter().collect();
    Some(Calibration {
        temperature: if is_better {
            best_temperature(&all)
        } else {
            1.0
        },
        rows: rows.len(),
        error_before: before,
        error_after: if is_better { after } else { before },
    })
}

/// The probabilities as a model with this calibration answers them.
pub(super) fn calibrated(
    probabilities: Probabilities,
    calibration: Option<&Calibration>,
) -> Probabilities {
    match calibration {
        Some(calibration) => probabilities.map_rows(|row| calibration.apply(row)),
        None => probabilities,
    }
}

impl Row<'_> {
    /// Cross entropy with the truth, in nats.
    fn loss(&self, temperature: f64) -> f64 {
        let classes = self.truth_by_class();
        classes
            .map(|(share, logit)| -share * logit / temperature)
            .sum::<f64>()
            + self.log_sum(temperature)
    }

    fn truth_by_class(&self) -> impl Iterator<Item = (f64, f64)> {
        let probabilities = self.probabilities.iter().enumerate();
        probabilities.map(|(class, p)| (self.truth.of(class), logit(*p)))
    }

    /// The logarithm of the sum that makes the powers probabilities.
    fn log_sum(&self, temperature: f64) -> f64 {
        let logits = self.probabilities.iter().map(|p| logit(*p) / temperature);
        let most = logits.clone().fold(f64::NEG_INFINITY, f64::max);
        most + logits.map(|logit| (logit - most).exp()).sum::<f64>().ln()
    }

    /// The confidence at a temperature, and how far the class of it is true.
    fn judged(&self, temperature: f64) -> (f64, f64) {
        let (class, confidence) = most_likely(self.probabilities);
        let log = logit(confidence) / temperature - self.log_sum(temperature);
        (log.exp(), self.truth.of(class))
    }
}

/// The logarithm of a probability that may have been rounded to 0.
fn logit(probability: f32) -> f64 {
    f64::from(probability.max(f32::MIN_POSITIVE)).ln()
}

/// The temperature of the least cross entropy. That has one minimum, as it is convex in 1/T.
fn best_temperature(rows: &[&Row<'_>]) -> f64 {
    let loss = |log: f64| rows.iter().map(|row| row.loss(log.exp())).sum::<f64>();
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let [mut low, mut high] = TEMPERATURES.map(f64::ln);
    for _ in 0..STEPS {
        let width = golden * (high - low);
        if loss(high - width) < loss(low + width) {
            high = low + width;
        } else {
            low = high - width;
        }
    }
    let [coldest, hottest] = TEMPERATURES;
    f64::midpoint(low, high).exp().clamp(coldest, hottest)
}

/// The expected calibration error, with the temperature of each row.
fn error(rows: &[Row<'_>], temperature: impl Fn(usize) -> f64) -> f64 {
    let mut gaps = [0.0; BINS];
    for (at, row) in rows.iter().enumerate() {
        let (confidence, truth) = row.judged(temperature(at));
        let bin = (confidence * BINS as f64) as usize;
        gaps[bin.min(BINS - 1)] += truth - confidence;
    }
    let gaps = gaps.iter().map(|gap: &f64| gap.abs());
    gaps.sum::<f64>() / rows.len().max(1) as f64
}

#[cfg(test)]
mod tests;
