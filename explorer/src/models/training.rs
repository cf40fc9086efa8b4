//! Trainings: runs with their curves and workers, and the versions that they made.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::finite;
use super::serving::{MAX_DEPTH, StageReport, Stages, way};
use crate::facts::{EpochFact, Fact, Facts, Name, Names, RunFact, TrainingFact, TrainingKind};
use crate::store::{SpanId, TraceId};

/// Runs of one model.
const MAX_RUNS: usize = 16;
/// Versions of one model.
const MAX_VERSIONS: usize = 50;
/// Variants of one version.
const MAX_VARIANTS: usize = 16;
/// Points of one curve; of more, every second or third and so on is kept.
const MAX_POINTS: usize = 120;
/// Ranks of one run.
const MAX_RANKS: usize = 32;

/// One version of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VersionReport {
    pub version: String,
    pub run_id: Option<String>,
    /// Variants that answered with it.
    pub variants: Vec<String>,
    pub framework: Option<String>,
    /// The trace of the training. It and the outcome are known only if the training was received.
    pub trace_id: Option<String>,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What a training was given and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub commit: Option<String>,
    pub dataset: Option<String>,
    pub dataset_sha256: Option<String>,
    pub learning_rate: Option<f64>,
    pub training_accuracy: Option<f64>,
    pub validation_accuracy: Option<f64>,
    /// What always answering the most frequent class reaches.
    pub baseline_accuracy: Option<f64>,
    pub validation_rmse: Option<f64>,
    /// What always answering the mean reaches.
    pub baseline_rmse: Option<f64>,
}

/// One training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    pub run_id: String,
    pub version: Option<String>,
    pub trace_id: String,
    pub span_id: String,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub duration_ms: f64,
    pub framework: Option<String>,
    /// Of a training that failed.
    pub error: bool,
    pub error_type: Option<String>,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// By epoch.
    pub curve: Vec<CurvePoint>,
    /// Of a distributed training.
    pub ranks: Vec<RankReport>,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    pub epoch: u32,
    pub loss: Option<f64>,
    pub training_accuracy: Option<f64>,
    pub gradient_norm: Option<f64>,
}

/// One process of a distributed training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankReport {
    pub rank: u32,
    pub error: bool,
    /// All epochs together, as the rank itself says.
    pub compute_seconds: Option<f64>,
    pub all_reduce_seconds: Option<f64>,
    pub epochs: Vec<RankWork>,
}

/// What a rank did in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankWork {
    pub epoch: u32,
    pub compute_seconds: f64,
    pub all_reduce_seconds: f64,
}

type Id = (TraceId, SpanId);

/// The facts of one run.
struct Run<'a> {
    span: &'a Fact,
    facts: &'a RunFact,
    parts: Vec<&'a TrainingFact>,
}

/// The runs of a model, the newest first.
pub(super) fn runs(facts: &Facts, model: Name) -> Vec<RunReport> {
    let runs = gather(facts, model);
    let reports = runs.iter().take(MAX_RUNS);
    reports.map(|run| run.report(&facts.names)).collect()
}

/// The stages of all runs of a model.
pub(super) fn stages(facts: &Facts, model: Name) -> Vec<StageReport> {
    let mut stages = Stages::default();
    for run in gather(facts, model) {
        for part in &run.parts {
            // Stages are directly below their run.
            if matches!(part.kind, TrainingKind::Stage) {
                stages.add(&part.span, run.span, way(vec![part.span.name]));
            }
        }
    }
    stages.report(&facts.names, 1.0)
}

/// Runs with everything below them, by start, the newest first.
fn gather(facts: &Facts, model: Name) -> Vec<Run<'_>> {
    let is_span = |fact: &&TrainingFact| !matches!(fact.kind, TrainingKind::Epoch(_));
    let by_id: HashMap<Id, &TrainingFact> = facts
        .training
        .iter()
        .filter(is_span)
        .map(|fact| ((fact.span.trace, fact.span.span), fact))
        .collect();
    let mut runs: HashMap<Id, Run<'_>> = HashMap::new();
    for fact in &facts.training {
        if let TrainingKind::Run(run) = &fact.kind
            && fact.span.model == model
        {
            let run = Run {
                span: &fact.span,
                facts: run,
                parts: Vec::new(),
            };
            runs.insert((fact.span.trace, fact.span.span), run);
        }
    }
    for fact in &facts.training {
        let mut at = fact.span.parent;
        for _ in 0..MAX_DEPTH {
            let id = (fact.span.trace, at);
            if let Some(run) = runs.get_mut(&id) {
                run.parts.push(fact);
                break;
            }
            match by_id.get(&id) {
                Some(parent) => at = parent.span.parent,
                None => break,
            }
        }
    }
    let mut runs: Vec<_> = runs.into_values().collect();
    runs.sort_by_key(|run| std::cmp::Reverse((run.span.start, run.span.span)));
    runs
}

impl Run<'_> {
    fn report(&self, names: &Names) -> RunReport {
        let (span, facts) = (self.span, self.facts);
        RunReport {
            run_id: names.text(span.run).to_owned(),
            version: names.some(span.version),
            trace_id: hex::encode(span.trace),
            span_id: hex::encode(span.span),
            start: span.start,
            duration_ms: span.duration as f64 / 1e6,
            framework: names.some(span.framework),
            error: span.error,
            error_type: names.some(facts.error_type),
            outcome: Outcome::of(facts, names),
            curve: self.curve(),
            ranks: self.ranks(),
        }
    }

    /// All ranks tell the same of an epoch.
    fn curve(&self) -> Vec<CurvePoint> {
        let epochs: BTreeMap<u32, &EpochFact> =
            self.epochs().map(|epoch| (epoch.epoch, epoch)).collect();
        let points = epochs.into_values().map(|epoch| CurvePoint {
            epoch: epoch.epoch,
            loss: finite(epoch.loss),
            training_accuracy: finite(epoch.accuracy),
            gradient_norm: finite(epoch.gradient_norm),
        });
        thin(points.collect())
    }

    fn ranks(&self) -> Vec<RankReport> {
        let mut ranks: BTreeMap<u32, RankReport> = BTreeMap::new();
        for part in &self.parts {
            let (TrainingKind::Rank(work) | TrainingKind::Epoch(work)) = &part.kind else {
                continue;
            };
            let Some(rank) = work.rank else { continue };
            if ranks.len() >= MAX_RANKS && !ranks.contains_key(&rank) {
                continue;
            }
            let report = ranks.entry(rank).or_insert_with(|| RankReport {
                rank,
                error: false,
                compute_seconds: None,
                all_reduce_seconds: None,
                epochs: Vec::new(),
            });
            report.take(&part.kind, work, part.span.error);
        }
        let mut ranks: Vec<_> = ranks.into_values().collect();
        for rank in &mut ranks {
            rank.epochs.sort_by_key(|work| work.epoch);
            rank.epochs = thin(std::mem::take(&mut rank.epochs));
        }
        ranks
    }

    fn epochs(&self) -> impl Iterator<Item = &EpochFact> {
        self.parts.iter().filter_map(|part| match &part.kind {
            TrainingKind::Epoch(epoch) => Some(epoch),
            _ => None,
        })
    }
}

impl Outcome {
    fn of(facts: &RunFact, names: &Names) -> Outcome {
        Outcome {
            commit: names.some(facts.commit),
            dataset: names.some(facts.dataset),
            dataset_sha256: names.some(facts.dataset_sha256),
            learning_rate: finite(facts.learning_rate),
            training_accuracy: finite(facts.training_accuracy),
            validation_accuracy: finite(facts.validation_accuracy),
            baseline_accuracy: finite(facts.baseline_accuracy),
            validation_rmse: finite(facts.validation_rmse),
            baseline_rmse: finite(facts.baseline_rmse),
        }
    }
}

impl RankReport {
    fn take(&mut self, kind: &TrainingKind, work: &EpochFact, error: bool) {
        if matches!(kind, TrainingKind::Rank(_)) {
            self.compute_seconds = finite(work.compute);
            self.all_reduce_seconds = finite(work.all_reduce);
            self.error |= error;
        } else if work.compute.is_finite() && work.all_reduce.is_finite() {
            self.epochs.push(RankWork {
                epoch: work.epoch,
                compute_seconds: work.compute,
                all_reduce_seconds: work.all_reduce,
            });
        }
    }
}

/// At most [`MAX_POINTS`] of the points, evenly, with the last one.
fn thin<T>(points: Vec<T>) -> Vec<T> {
    let (count, every) = (points.len(), points.len().div_ceil(MAX_POINTS).max(1));
    let kept = points
        .into_iter()
        .enumerate()
        .filter(|(at, _)| (count - 1 - at).is_multiple_of(every));
    kept.map(|(_, point)| point).collect()
}

/// The versions that trainings made or that answered, the newest first.
pub(super) fn versions(facts: &Facts, model: Name, runs: &[RunReport]) -> Vec<VersionReport> {
    let names = &facts.names;
    // Two repositories may both have a version 1; the run tells them apart.
    let mut versions: BTreeMap<(String, String), VersionReport> = BTreeMap::new();
    for run in runs {
        if let Some(version) = &run.version {
            let key = (version.clone(), run.run_id.clone());
            versions.insert(key, VersionReport::from(run));
        }
    }
    for (fact, variants) in answered(facts, model) {
        let (version, run) = (names.text(fact.version), names.text(fact.run));
        let report = versions
            .entry((version.to_owned(), run.to_owned()))
            .or_insert_with(|| VersionReport {
                version: version.to_owned(),
                run_id: names.some(fact.run),
                framework: names.some(fact.framework),
                ..VersionReport::default()
            });
        report.variants = variants
            .iter()
            .map(|name| names.text(*name).to_owned())
            .collect();
        report.variants.sort();
    }
    let mut versions: Vec<_> = versions.into_values().collect();
    let number = |version: &VersionReport| version.version.parse::<u64>().unwrap_or(0);
    versions.sort_by(|a, b| number(b).cmp(&number(a)).then(a.version.cmp(&b.version)));
    versions
}

/// The versions that answered: a prediction of each, and its variants.
fn answered(facts: &Facts, model: Name) -> Vec<(&Fact, BTreeSet<Name>)> {
    let mut answered: HashMap<(Name, Name), (&Fact, BTreeSet<Name>)> = HashMap::new();
    for fact in &facts.spans {
        let key = (fact.version, fact.run);
        let has_room = answered.len() < MAX_VERSIONS || answered.contains_key(&key);
        if fact.model == model && has_room && fact.is_prediction(&facts.names) {
            let (_, variants) = answered.entry(key).or_insert((fact, BTreeSet::new()));
            if variants.len() < MAX_VARIANTS {
                variants.insert(fact.variant);
            }
        }
    }
    answered.into_values().collect()
}

impl From<&RunReport> for VersionReport {
    fn from(run: &RunReport) -> VersionReport {
        VersionReport {
            version: run.version.clone().unwrap_or_default(),
            run_id: Some(run.run_id.clone()),
            variants: Vec::new(),
            framework: run.framework.clone(),
            outcome: run.outcome.clone(),
            trace_id: Some(run.trace_id.clone()),
        }
    }
}
