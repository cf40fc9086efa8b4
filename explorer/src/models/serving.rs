//! What each variant of a model answers, and where its time goes.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::Look;
use crate::facts::{Fact, Name, Names};
use crate::measure::{Calls, Numbers};
use crate::store::{SpanId, TraceId};

/// Variants with their versions.
const MAX_VARIANTS: usize = 16;
/// Stages of one variant.
const MAX_STAGES: usize = 48;
/// Labels of one variant.
const MAX_LABELS: usize = 50;
/// Bins of the histogram of confidences, from 0 to 1.
pub(crate) const BINS: usize = 20;
/// Spans from below a prediction down to a layer, with one for those that were computed together.
pub(super) const MAX_DEPTH: usize = 4;

/// One variant with one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VariantReport {
    pub variant: String,
    pub version: String,
    pub framework: Option<String>,
    /// `service.name` of where it is computed.
    pub service: String,
    /// Of the spans `predict …`; a batch is one call.
    #[serde(flatten)]
    pub numbers: Numbers,
    /// Rows of these calls.
    pub rows: u64,
    /// In the order of their begin.
    pub stages: Vec<StageReport>,
    /// How many predictions of one row have a confidence in each twentieth from 0 to 1.
    pub confidence: Vec<u64>,
    pub mean_confidence: Option<f64>,
    /// Of predictions of one row, the most frequent first.
    pub labels: Vec<LabelShare>,
}

/// One stage of a prediction or of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    pub name: String,
    /// 1 directly below the prediction or the training.
    pub depth: usize,
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// How often a class is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelShare {
    pub label: String,
    pub count: u64,
    pub share: f64,
}

/// Stages while they are counted.
#[derive(Default)]
pub(super) struct Stages(HashMap<Way, Stage>);

/// The names from below the whole down to a stage, and nothing behind them.
pub(super) type Way = [Name; MAX_DEPTH];

#[derive(Default)]
struct Stage {
    calls: Calls,
    /// Sum of the times from the begin of the whole to that of the stage.
    offsets: f64,
}

#[derive(Default)]
struct Served {
    calls: Calls,
    rows: u64,
    framework: Name,
    service: Name,
    stages: Stages,
    confidence: [u64; BINS],
    confidences: f64,
    labels: HashMap<Name, u64>,
}

type Pair = (Name, Name);

pub(super) fn variants(look: &Look<'_>, model: Name) -> Vec<VariantReport> {
    let names = &look.facts.names;
    let begin = look.begin();
    let recent = || {
        let spans = look.facts.spans.iter();
        spans.filter(move |fact| fact.arrived >= begin)
    };
    let mut served: BTreeMap<Pair, Served> = BTreeMap::new();
    for fact in recent() {
        if fact.model != model || !fact.is_prediction(names) {
            continue;
        }
        let pair = (fact.variant, fact.version);
        if served.len() < MAX_VARIANTS || served.contains_key(&pair) {
            served.entry(pair).or_default().add(fact);
        }
    }
    let by_id: HashMap<(TraceId, SpanId), &Fact> = recent()
        .map(|fact| ((fact.trace, fact.span), fact))
        .collect();
    for fact in recent() {
        let prediction = |above: &Fact| above.model == model && above.is_prediction(names);
        if let Some((whole, way)) = above(&by_id, fact, prediction)
            && let Some(served) = served.get_mut(&(whole.variant, whole.version))
        {
            served.stages.add(fact, whole, way);
        }
    }
    let seconds = look.seen_seconds();
    let mut reports: Vec<_> = served
        .into_iter()
        .map(|((variant, version), served)| served.report(names, variant, version, seconds))
        .collect();
    reports.sort_by(|a, b| (&a.variant, &a.version).cmp(&(&b.variant, &b.version)));
    reports
}

/// The span above `fact` that is what is looked for, and the way from it.
fn above<'a>(
    by_id: &HashMap<(TraceId, SpanId), &'a Fact>,
    fact: &Fact,
    is_wanted: impl Fn(&Fact) -> bool,
) -> Option<(&'a Fact, Way)> {
    let (mut at, mut names) = (fact, vec![fact.name]);
    while names.len() <= MAX_DEPTH {
        let parent = by_id.get(&(at.trace, at.parent))?;
        if is_wanted(parent) {
            return Some((parent, way(names)));
        }
        names.push(parent.name);
        at = parent;
    }
    None
}

/// From the names from a stage upwards.
pub(super) fn way(names: Vec<Name>) -> Way {
    let mut way = Way::default();
    for (place, name) in way.iter_mut().zip(names.into_iter().rev()) {
        *place = name;
    }
    way
}

impl Served {
    fn add(&mut self, fact: &Fact) {
        self.calls.add(fact.duration, fact.error);
        self.rows += u64::from(fact.rows);
        (self.framework, self.service) = (fact.framework, fact.service);
        if (0.0..=1.0).contains(&fact.confidence) {
            let bin = (f64::from(fact.confidence) * BINS as f64) as usize;
            self.confidence[bin.min(BINS - 1)] += 1;
            self.confidences += f64::from(fact.confidence);
        }
        if !fact.label.is_none() {
            *self.labels.entry(fact.label).or_default() += 1;
        }
    }

    fn report(
        mut self,
        names: &Names,
        variant: Name,
        version: Name,
        seconds: f64,
    ) -> VariantReport {
        let known: u64 = self.confidence.iter().sum();
        VariantReport {
            variant: names.text(variant).to_owned(),
            version: names.text(version).to_owned(),
            framework: names.some(self.framework),
            service: names.text(self.service).to_owned(),
            numbers: self.calls.numbers(seconds),
            rows: self.rows,
            stages: self.stages.report(names, seconds),
            confidence: self.confidence.to_vec(),
            mean_confidence: (known > 0).then(|| self.confidences / known as f64),
            labels: shares(names, &self.labels),
        }
    }
}

impl Stages {
    pub(super) fn add(&mut self, fact: &Fact, whole: &Fact, way: Way) {
        if self.0.len() >= MAX_STAGES && !self.0.contains_key(&way) {
            return;
        }
        let stage = self.0.entry(way).or_default();
        stage.calls.add(fact.duration, fact.error);
        stage.offsets += fact.start.saturating_sub(whole.start) as f64;
    }

    /// Each stage is followed by those below it, neighbours by their begin.
    pub(super) fn report(self, names: &Names, seconds: f64) -> Vec<StageReport> {
        let begins: HashMap<Way, f64> = self
            .0
            .iter()
            .map(|(way, stage)| (*way, stage.offsets / stage.calls.len().max(1) as f64))
            .collect();
        let place = |way: Way| {
            (1..=depth(way))
                .map(|depth| {
                    let begin = begins.get(&upper(way, depth)).copied();
                    (begin.unwrap_or(0.0), names.text(way[depth - 1]))
                })
                .collect::<Vec<_>>()
        };
        let mut stages: Vec<_> = self.0.into_iter().collect();
        stages.sort_by(|(a, _), (b, _)| {
            let (a, b) = (place(*a), place(*b));
            a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal)
        });
        stages
            .into_iter()
            .map(|(way, mut stage)| StageReport {
                name: names.text(way[depth(way) - 1]).to_owned(),
                depth: depth(way),
                numbers: stage.calls.numbers(seconds),
            })
            .collect()
    }
}

/// How far a stage is below the whole; a span may have no name.
fn depth(way: Way) -> usize {
    let last = way.iter().rposition(|name| !name.is_none());
    last.map_or(1, |last| last + 1)
}

/// The first `depth` names.
fn upper(way: Way, depth: usize) -> Way {
    let mut upper = way;
    upper[depth..].fill(Name::NONE);
    upper
}

fn shares(names: &Names, counts: &HashMap<Name, u64>) -> Vec<LabelShare> {
    let all: u64 = counts.values().sum();
    let mut labels: Vec<_> = counts
        .iter()
        .map(|(label, count)| LabelShare {
            label: names.text(*label).to_owned(),
            count: *count,
            share: *count as f64 / all as f64,
        })
        .collect();
    labels.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.label.cmp(&b.label)));
    labels.truncate(MAX_LABELS);
    labels
}
