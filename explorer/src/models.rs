//! What telemetry says of each model: its versions and their trainings, what each variant answers and
//! how fast, and how far its inputs are from those of the training.

mod inputs;
mod serving;
mod training;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::facts::{Facts, Name, TrainingKind};
use crate::measure::{Calls, Numbers};
use crate::store::MetricStore;

pub use inputs::InputReport;
pub use serving::{LabelShare, StageReport, VariantReport};
pub use training::{CurvePoint, Outcome, RankReport, RankWork, RunReport, VersionReport};

/// Models in a list.
const MAX_MODELS: usize = 100;

/// One model in a list; an entry of `GET /api/models`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    pub name: String,
    pub variants: Vec<String>,
    /// The newest first.
    pub versions: Vec<String>,
    /// Trainings that were received.
    pub runs: usize,
    /// Validation accuracy of the newest training that has one.
    pub validation_accuracy: Option<f64>,
    /// Features, confidences or labels that are beyond a threshold.
    pub drifting: usize,
    /// Of its predictions in the window; a batch is one call.
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// The answer of `GET /api/models/{name}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    pub name: String,
    /// How far back was asked for. Trainings and versions are all that are known.
    pub window_seconds: f64,
    /// How far back there is something: rates are over this time.
    pub seen_seconds: f64,
    /// The newest first.
    pub versions: Vec<VersionReport>,
    /// A variant with two versions is two entries.
    pub variants: Vec<VariantReport>,
    /// Stages of the trainings, in their order.
    pub training_stages: Vec<StageReport>,
    pub inputs: Vec<InputReport>,
    /// The newest first.
    pub runs: Vec<RunReport>,
}

/// A look at the facts from `now`, `window` nanoseconds back.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    pub facts: &'a Facts,
    pub metrics: &'a MetricStore,
    pub now: u64,
    pub window: u64,
}

impl<'a> Look<'a> {
    /// A look at what arrived in the last `window` nanoseconds.
    pub(crate) fn now(facts: &'a Facts, metrics: &'a MetricStore, window: u64) -> Look<'a> {
        let now = clock::now();
        Look {
            facts,
            metrics,
            now,
            window,
        }
    }

    /// All models, by name.
    pub(crate) fn list(&self) -> Vec<ModelSummary> {
        let names = &self.facts.names;
        let mut models: BTreeMap<&str, (Name, Calls)> = BTreeMap::new();
        for fact in &self.facts.spans {
            if !fact.is_prediction(names) {
                continue;
            }
            let (_, calls) = models
                .entry(names.text(fact.model))
                .or_insert((fact.model, Calls::default()));
            if fact.arrived >= self.begin() {
                calls.add(fact.duration, fact.error);
            }
        }
        for fact in &self.facts.training {
            if matches!(fact.kind, TrainingKind::Run(_)) {
                let model = fact.span.model;
                models
                    .entry(names.text(model))
                    .or_insert((model, Calls::default()));
            }
        }
        let models = models.into_iter().take(MAX_MODELS);
        models
            .map(|(name, (model, calls))| self.summary(name, model, calls))
            .collect()
    }

    fn summary(&self, name: &str, model: Name, mut calls: Calls) -> ModelSummary {
        let runs = training::runs(self.facts, model);
        let versions = training::versions(self.facts, model, &runs);
        let mut variants: Vec<_> = versions.iter().flat_map(|v| v.variants.clone()).collect();
        variants.sort();
        variants.dedup();
        let inputs = inputs::inputs(self.metrics, name);
        ModelSummary {
            name: name.to_owned(),
            variants,
            validation_accuracy: runs.iter().find_map(|run| run.outcome.validation_accuracy),
            versions: versions
                .into_iter()
                .map(|version| version.version)
                .collect(),
            runs: runs.len(),
            drifting: inputs.iter().filter(|input| input.drifts).count(),
            numbers: calls.numbers(self.seen_seconds()),
        }
    }

    /// One model; `None` if nothing of it was received.
    pub(crate) fn one(&self, name: &str) -> Option<ModelReport> {
        let model = self.facts.names.find(name).filter(|name| !name.is_none())?;
        let runs = training::runs(self.facts, model);
        let versions = training::versions(self.facts, model, &runs);
        if runs.is_empty() && versions.is_empty() {
            return None;
        }
        Some(ModelReport {
            name: self.facts.names.text(model).to_owned(),
            window_seconds: self.window as f64 / 1e9,
            seen_seconds: self.seen_seconds(),
            variants: serving::variants(self, model),
            training_stages: training::stages(self.facts, model),
            inputs: inputs::inputs(self.metrics, name),
            versions,
            runs,
        })
    }

    fn begin(&self) -> u64 {
        self.now.saturating_sub(self.window)
    }

    fn seen_seconds(&self) -> f64 {
        let begin = self.begin();
        let mut spans = self.facts.spans.iter();
        let first = spans.find(|fact| fact.arrived >= begin);
        first.map_or(0.0, |first| {
            self.now.saturating_sub(first.arrived) as f64 / 1e9
        })
    }
}

/// A number that is there.
fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests;
