//! The spans of trainings: runs, their stages, ranks and epochs.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::names::{Name, Names};
use super::span::{Fact, name, number};
use crate::attribute;
use crate::store::Source;

/// Names of the stages, as in the telemetry reference.
const STAGES: [&str; 6] = [
    "load_data",
    "prepare_texts",
    "train_model",
    "evaluate_model",
    "load_features",
    "save_model",
];
/// Events of epochs that are taken of one span; trainings in Python write at most a few dozen.
const MAX_EVENTS: usize = 512;

/// One span of a training, or one event of an epoch.
#[derive(Clone, Debug)]
pub(crate) struct TrainingFact {
    pub span: Fact,
    pub kind: TrainingKind,
}

/// What a span of a training is.
#[derive(Clone, Debug)]
pub(crate) enum TrainingKind {
    /// `train …`.
    Run(Box<RunFact>),
    Stage,
    /// One process of a distributed training.
    Rank(EpochFact),
    Epoch(EpochFact),
}

/// What a run says of itself. Numbers that it does not have are NaN.
#[derive(Clone, Debug)]
pub(crate) struct RunFact {
    pub dataset: Name,
    pub dataset_sha256: Name,
    /// `vcs.ref.head.revision` of the resource.
    pub commit: Name,
    pub error_type: Name,
    pub learning_rate: f64,
    pub training_accuracy: f64,
    pub validation_accuracy: f64,
    pub baseline_accuracy: f64,
    pub validation_rmse: f64,
    pub baseline_rmse: f64,
}

/// The numbers of an epoch or of a rank; those that it does not have are NaN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EpochFact {
    /// From 1; 0 of a rank as a whole.
    pub epoch: u32,
    pub rank: Option<u32>,
    pub loss: f64,
    pub accuracy: f64,
    pub gradient_norm: f64,
    /// Seconds.
    pub compute: f64,
    /// Seconds.
    pub all_reduce: f64,
}

/// The facts of a span about a training: none of most, several of a span with an event for each
/// epoch.
pub(super) fn facts(
    names: &mut Names,
    source: &Source,
    fact: &Fact,
    span: &Span,
) -> Vec<TrainingFact> {
    let one = |kind| TrainingFact { span: *fact, kind };
    match span.name.as_str() {
        "epoch" => vec![one(TrainingKind::Epoch(epoch(&span.attributes)))],
        "rank" => vec![one(TrainingKind::Rank(epoch(&span.attributes)))],
        stage if STAGES.contains(&stage) => {
            let completed = span.events.iter();
            let completed = completed.filter(|event| event.name == "epoch_completed");
            let epochs = completed.take(MAX_EVENTS).map(|event| {
                // The span of the event is the stage itself.
                let inner = Fact {
                    parent: fact.span,
                    ..*fact
                };
                TrainingFact {
                    span: inner,
                    kind: TrainingKind::Epoch(epoch(&event.attributes)),
                }
            });
            std::iter::once(one(TrainingKind::Stage))
                .chain(epochs)
                .collect()
        }
        run if run.starts_with("train ") && !fact.run.is_none() && !fact.model.is_none() => {
            let run = run_fact(names, source, &span.attributes);
            vec![one(TrainingKind::Run(Box::new(run)))]
        }
        _ => Vec::new(),
    }
}

fn run_fact(names: &mut Names, source: &Source, attributes: &[KeyValue]) -> RunFact {
    let resource = source.resource().attributes;
    let commit = attribute::text(&resource, "vcs.ref.head.revision").unwrap_or_default();
    let commit = names.intern(commit);
    let mut text = |key: &str| {
        let value = value(attributes, key);
        value.map_or(Name::NONE, |value| name(names, value))
    };
    let number = |key: &str| number_of(attributes, key);
    RunFact {
        dataset: text("ml.dataset"),
        dataset_sha256: text("ml.dataset_sha256"),
        error_type: text("error.type"),
        commit,
        learning_rate: number("ml.learning_rate"),
        training_accuracy: number("ml.training_accuracy"),
        validation_accuracy: number("ml.validation_accuracy"),
        baseline_accuracy: number("ml.baseline_accuracy"),
        validation_rmse: number("ml.validation_rmse"),
        baseline_rmse: number("ml.baseline_rmse"),
    }
}

fn epoch(attributes: &[KeyValue]) -> EpochFact {
    let number = |key: &str| number_of(attributes, key);
    let rank = number("ml.training.rank");
    EpochFact {
        epoch: number("ml.training.epoch") as u32,
        rank: (rank >= 0.0).then_some(rank as u32),
        loss: number("ml.training.loss"),
        accuracy: number("ml.training_accuracy"),
        gradient_norm: number("ml.training.gradient_norm"),
        compute: number("ml.training.compute.duration"),
        all_reduce: number("ml.training.all_reduce.duration"),
    }
}

fn value<'a>(
    attributes: &'a [KeyValue],
    key: &str,
) -> Option<&'a opentelemetry_proto::tonic::common::v1::AnyValue> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()
}

fn number_of(attributes: &[KeyValue], key: &str) -> f64 {
    value(attributes, key).and_then(number).unwrap_or(f64::NAN)
}

impl TrainingFact {
    pub(super) fn each_name(&mut self, rename: &mut impl FnMut(&mut Name)) {
        self.span.each_name(rename);
        if let TrainingKind::Run(run) = &mut self.kind {
            for name in [
                &mut run.dataset,
                &mut run.dataset_sha256,
                &mut run.commit,
                &mut run.error_type,
            ] {
                rename(name);
            }
        }
    }
}
