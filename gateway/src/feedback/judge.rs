//! One prediction compared with the truth.

use protocol::ErrorCode;

use crate::api::FeedbackItem;
use crate::names::is_variant_name;
use crate::quality::{Outcome, Recorded};
use crate::store::StoredPrediction;

const MAX_LABEL_BYTES: usize = 256;
/// So that a sum of them is a number.
const MAX_NUMBER: f64 = 1e30;

/// What turned out to be true, or what somebody thinks of a prediction.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Truth {
    Label(String),
    Value(f64),
    Score { name: String, value: f64 },
}

/// What that says of one prediction.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judgement {
    pub(super) name: String,
    pub(super) score: f64,
    pub(super) label: Option<&'static str>,
    /// Without the user's words: only of classes that the model has, and of numbers.
    explanation: Option<String>,
    /// `None` for a score.
    pub(super) outcome: Option<Outcome>,
}

impl Truth {
    pub(super) fn of(item: &FeedbackItem) -> Result<Self, &'static str> {
        let numbers = item.value.into_iter();
        let mut numbers = numbers.chain(item.score.as_ref().map(|score| score.value));
        if numbers.any(|number| number.abs() > MAX_NUMBER) {
            return Err(": numbers must be at most 1e30 in size");
        }
        match (&item.label, item.value, &item.score) {
            (Some(label), None, None) => {
                let fits = (1..=MAX_LABEL_BYTES).contains(&label.len())
                    && !label.chars().any(char::is_control);
                let truth = Self::Label(label.clone());
                fits.then_some(truth)
                    .ok_or(".label must have 1 to 256 bytes and no control characters")
            }
            (None, Some(value), None) => Ok(Self::Value(value)),
            (None, None, Some(score)) if is_variant_name(&score.name) => Ok(Self::Score {
                name: score.name.clone(),
                value: score.value,
            }),
            (None, None, Some(_)) => {
                Err(".score.name must have 1 to 64 letters, digits, `_`, `-` and `.`")
            }
            _ => Err(" must have exactly one of label, value and score"),
        }
    }

    /// Compares a prediction with the truth. `classes` are those of its version, none if they are
    /// not known.
    pub(super) fn judge(
        &self,
        prediction: &StoredPrediction,
        classes: &[String],
    ) -> Result<Judgement, ErrorCode> {
        match (self, prediction.number()) {
            (Self::Label(label), None) if classes.is_empty() || classes.contains(label) => {
                Ok(of_label(label, prediction, !classes.is_empty()))
            }
            (Self::Label(_), None) => Err(ErrorCode::UnknownLabel),
            (Self::Value(value), Some(number)) => Ok(of_value(*value, f64::from(number))),
            (Self::Score { name, value }, _) => Ok(Judgement {
                name: name.clone(),
                score: *value,
                label: None,
                explanation: None,
                outcome: None,
            }),
            (Self::Label(_), Some(_)) | (Self::Value(_), None) => Err(ErrorCode::WrongTruth),
        }
    }
}

fn of_label(label: &str, prediction: &StoredPrediction, is_class: bool) -> Judgement {
    let correct = prediction.label == label;
    let confidence = prediction.confidence;
    let explain = || format!("predicted {}, the truth is {label}", prediction.label);
    Judgement {
        name: "accuracy".to_owned(),
        score: if correct { 1.0 } else { 0.0 },
        label: Some(if correct { "correct" } else { "incorrect" }),
        explanation: is_class.then(explain),
        outcome: Some(Outcome::Class {
            correct,
            confidence,
        }),
    }
}

fn of_value(value: f64, number: f64) -> Judgement {
    let absolute_error = (value - number).abs();
    Judgement {
        name: "absolute_error".to_owned(),
        score: absolute_error,
        label: None,
        explanation: Some(format!("predicted {number}, the truth is {value}")),
        outcome: Some(Outcome::Number { absolute_error }),
    }
}

impl Judgement {
    /// Logs it as the event that OpenTelemetry has for evaluations: semantic conventions of
    /// generative AI, `gen_ai.evaluation.result`. By them it belongs to the span that is evaluated,
    /// so the caller makes that one current.
    pub(super) fn log(&self, prediction: &StoredPrediction, recorded: Recorded) {
        let (key, is_class) = (&prediction.key, prediction.number().is_none());
        let confidence = is_class.then(|| f64::from(prediction.confidence));
        let result = self.label.unwrap_or("score");
        tracing::info!(
            name: "gen_ai.evaluation.result",
            {
                "gen_ai.evaluation.name" = &*self.name,
                "gen_ai.evaluation.score.value" = self.score,
                "gen_ai.evaluation.score.label" = self.label,
                "gen_ai.evaluation.explanation" = self.explanation.as_deref(),
                "ml.model_name" = &*key.model,
                "ml.model_version" = &*key.version,
                "ml.variant" = &*key.variant,
                "ml.run_id" = prediction.run_id.as_deref(),
                "ml.output.label" = is_class.then_some(&*prediction.label),
                "ml.output.confidence" = confidence,
                "ml.quality.result" = recorded.as_str(),
            },
            "{} of a prediction of {}: {result} {}", self.name, key.model, self.score
        );
    }
}
