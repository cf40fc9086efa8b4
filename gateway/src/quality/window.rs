//! The sums of one window of feedback.

use jiff::Timestamp;

/// What feedback says of one prediction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Of a class.
    Class { correct: bool, confidence: f32 },
    /// Of a number: how far it is from the true one.
    Number { absolute_error: f64 },
}

/// Outcomes, added up. A version predicts either classes or numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    pub(crate) rows: u64,
    classes: u64,
    pub(crate) correct: u64,
    confidence: f64,
    absolute_error: f64,
}

/// A tumbling window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    /// From 1, since the start of this gateway.
    pub(crate) number: u64,
    pub(crate) sums: Sums,
    /// When its first and its last feedback came.
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
}

impl Sums {
    pub(super) fn add(&mut self, outcome: Outcome) {
        self.rows += 1;
        match outcome {
            Outcome::Class {
                correct,
                confidence,
            } => {
                self.classes += 1;
                self.correct += u64::from(correct);
                self.confidence += f64::from(confidence);
            }
            Outcome::Number { absolute_error } => self.absolute_error += absolute_error,
        }
    }

    /// Takes out what was added before.
    pub(super) fn remove(&mut self, outcome: Outcome) {
        self.rows = self.rows.saturating_sub(1);
        match outcome {
            Outcome::Class {
                correct,
                confidence,
            } => {
                self.classes = self.classes.saturating_sub(1);
                self.correct = self.correct.saturating_sub(u64::from(correct));
                self.confidence -= f64::from(confidence);
            }
            Outcome::Number { absolute_error } => self.absolute_error -= absolute_error,
        }
    }

    /// Share of the classes that are the true one.
    pub(crate) fn accuracy(&self) -> Option<f64> {
        mean(self.correct as f64, self.classes)
    }

    /// The accuracy that the confidences promise.
    pub(crate) fn estimated_accuracy(&self) -> Option<f64> {
        mean(self.confidence, self.classes)
    }

    pub(crate) fn mean_absolute_error(&self) -> Option<f64> {
        mean(self.absolute_error, self.rows - self.classes)
    }
}

impl Window {
    pub(super) fn new(number: u64, at: Timestamp) -> Self {
        Self {
            number,
            sums: Sums::default(),
            first_at: at,
            last_at: at,
        }
    }
}

fn mean(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}
