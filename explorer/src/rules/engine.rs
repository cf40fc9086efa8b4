//! The evaluation of all rules on what is new in the stores.
//!
//! The receiver does nothing for it: the engine keeps a cursor on each store and looks at every item
//! once, so that an evaluation costs what arrived and not what is stored. What it remembers is
//! bounded by rule: groups, slots of a window, example traces, history.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::RuleSet;
use super::group::{Group, nanoseconds};
use super::label::Labels;
use super::points;
use super::report::{
    Evidence, GroupReport, HistoryEntry, Measured, RuleReport, RulesReport, State,
};
use super::rule::{Condition, Rule};
use super::watch::{self, Said};
use super::window::MAX_TRACES;
use crate::filter::{self, Filter};
use crate::store::{TelemetryStore, TraceId};

/// Groups of one rule. Labels are foreign, and each group has a window.
const MAX_GROUPS: usize = 32;
/// Changes of states that a rule remembers.
const MAX_HISTORY: usize = 50;

/// A change of a state.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    rule: usize,
    at: u64,
    labels: Labels,
    pub state: State,
    measured: Measured,
    traces: Vec<TraceId>,
}

/// The rules with their states.
pub(crate) struct Engine {
    rules: Vec<Rule>,
    every: Duration,
    /// Where the explorer's pages open, without a slash at the end.
    base: String,
    store: Arc<TelemetryStore>,
    states: Mutex<States>,
}

#[derive(Default)]
struct States {
    cursors: Cursors,
    missed: u64,
    evaluated: u64,
    /// In the order of the rules.
    rules: Vec<RuleState>,
}

#[derive(Default)]
struct Cursors {
    spans: u64,
    logs: u64,
    points: u64,
}

#[derive(Default)]
struct RuleState {
    groups: BTreeMap<Labels, Group>,
    refused: u64,
    history: VecDeque<Change>,
}

impl Change {
    /// A name of the change that no other change of this process has.
    pub(super) fn id(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.labels, self.state.as_str()).hash(&mut hasher);
        format!("msg_{}_{}_{:016x}", self.at, self.rule, hasher.finish())
    }
}

impl Engine {
    /// `base` is where the explorer's pages open.
    pub(crate) fn new(set: RuleSet, base: &str, store: Arc<TelemetryStore>) -> Engine {
        let states = States {
            rules: set.rules.iter().map(|_| RuleState::default()).collect(),
            ..States::default()
        };
        Engine {
            rules: set.rules,
            every: set.every,
            base: base.trim_end_matches('/').to_owned(),
            store,
            states: Mutex::new(states),
        }
    }

    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    /// Looks at what is new, and at every window as it is at `now`, nanoseconds since 1970.
    pub(crate) fn evaluate(&self, now: u64) -> Vec<Change> {
        let mut states = self.states.lock();
        self.take_spans(&mut states, now);
        self.take_logs(&mut states, now);
        self.take_points(&mut states, now);
        states.evaluated = now;
        let mut changes = Vec::new();
        for (number, rule) in self.rules.iter().enumerate() {
            let RuleState {
                groups, history, ..
            } = &mut states.rules[number];
            for (labels, group) in groups.iter_mut() {
                let Some(state) = group.look(rule, now) else {
                    continue;
                };
                if matches!(rule.condition, Condition::Metric { .. }) {
                    group.traces = self.traces_of(labels);
                }
                let change = Change {
                    rule: number,
                    at: now,
                    labels: labels.clone(),
                    state,
                    measured: group.measured.clone(),
                    traces: group.traces.clone(),
                };
                history.push_front(change.clone());
                history.truncate(MAX_HISTORY);
                changes.push(change);
            }
            groups.retain(|_, group| !group.is_over(rule, now));
        }
        changes
    }

    fn take_spans(&self, states: &mut States, now: u64) {
        let newer = self.store.traces.newer_than(states.cursors.spans);
        states.cursors.spans = newer.cursor;
        states.missed += newer.missed;
        for new in &newer.items {
            let wanted = |rule: &Rule| {
                let service = rule.service.as_ref();
                rule.condition.is_about_spans()
                    && service.is_none_or(|service| *service == new.source.service)
            };
            if !self.rules.iter().any(wanted) {
                continue;
            }
            let span = new.span();
            for (rule, state) in self.rules.iter().zip(&mut states.rules) {
                if let Some((labels, seen)) = watch::span(rule, &new.source, new.trace_id, &span)
                    && let Some(group) = state.group(labels, now)
                {
                    group.window.add(now, nanoseconds(rule.window), seen);
                }
            }
        }
    }

    fn take_logs(&self, states: &mut States, now: u64) {
        let newer = self.store.logs.newer_than(states.cursors.logs);
        states.cursors.logs = newer.cursor;
        states.missed += newer.missed;
        for new in &newer.items {
            let record = new.record();
            for (rule, state) in self.rules.iter().zip(&mut states.rules) {
                match watch::log(rule, &new.source, new.trace_id, &record) {
                    Some((labels, Said::Seen(seen))) => {
                        if let Some(group) = state.group(labels, now) {
                            group.window.add(now, nanoseconds(rule.window), seen);
                        }
                    }
                    Some((labels, Said::Over)) => {
                        if let Some(group) = state.groups.get_mut(&labels) {
                            group.window.clear();
                        }
                    }
                    None => {}
                }
            }
        }
    }

    fn take_points(&self, states: &mut States, now: u64) {
        let names: Vec<_> = self.rules.iter().filter_map(points::metric).collect();
        if names.is_empty() {
            return;
        }
        let cursor = states.cursors.points;
        let (views, cursor) = self.store.metrics.newer_than(cursor, &names);
        states.cursors.points = cursor;
        for view in &views {
            for (rule, state) in self.rules.iter().zip(&mut states.rules) {
                if let Some((labels, point)) = points::point(rule, view, now)
                    && let Some(group) = state.group(labels, now)
                {
                    let length = nanoseconds(rule.window);
                    group
                        .samples
                        .add(point.series, point.sample, point.course, length);
                }
            }
        }
    }

    /// The newest traces of the model that the labels name: a metric has no trace of its own.
    fn traces_of(&self, labels: &Labels) -> Vec<TraceId> {
        let value = |wanted: &[&str]| {
            let found = labels
                .iter()
                .find(|(name, _)| wanted.contains(&name.as_str()));
            found
                .map(|(_, value)| value.clone())
                .filter(|value| !value.is_empty())
        };
        let model = value(&["ml.model_name", "model.name"]);
        let conditions = model.map(|model| filter::Condition::is("ml.model_name", &model));
        let filter = Filter {
            service: value(&["service.name"]),
            conditions: conditions.into_iter().collect(),
            ..Filter::default()
        };
        let newest = filter::matching(&self.store.traces, &filter, MAX_TRACES);
        newest.into_iter().map(|trace| trace.id).collect()
    }

    /// All states, as they were at the last evaluation.
    pub(crate) fn report(&self) -> RulesReport {
        let states = self.states.lock();
        let rules = self.rules.iter().zip(&states.rules);
        RulesReport {
            evaluated: time(states.evaluated),
            missed: states.missed,
            webhook: None,
            rules: rules
                .map(|(rule, state)| self.rule_report(rule, state))
                .collect(),
        }
    }

    fn rule_report(&self, rule: &Rule, state: &RuleState) -> RuleReport {
        let groups = state.groups.iter();
        let worst = groups.clone().map(|(_, group)| group.machine.state).max();
        RuleReport {
            name: rule.name.clone(),
            summary: rule.summary.clone(),
            severity: rule.severity.as_str().to_owned(),
            action: rule.action.clone(),
            state: worst.unwrap_or_default(),
            window_seconds: rule.window.as_secs_f64(),
            for_seconds: rule.pending.as_secs_f64(),
            groups_refused: state.refused,
            groups: groups
                .map(|(labels, group)| GroupReport {
                    labels: labels.iter().cloned().collect(),
                    state: group.machine.state,
                    since: time(group.machine.since),
                    measured: group.measured.clone(),
                    traces: self.evidence(&group.traces),
                })
                .collect(),
            history: state
                .history
                .iter()
                .map(|change| self.entry(change))
                .collect(),
        }
    }

    /// A change as it is shown and sent.
    pub(crate) fn entry(&self, change: &Change) -> HistoryEntry {
        HistoryEntry {
            at: time(change.at),
            labels: change.labels.iter().cloned().collect(),
            state: change.state,
            measured: change.measured.clone(),
            traces: self.evidence(&change.traces),
        }
    }

    pub(crate) fn rule(&self, change: &Change) -> &Rule {
        &self.rules[change.rule]
    }

    /// Where all rules are shown.
    pub(crate) fn page(&self) -> String {
        format!("{}/rules", self.base)
    }

    fn evidence(&self, traces: &[TraceId]) -> Vec<Evidence> {
        let evidence = traces.iter().map(|id| {
            let trace_id = hex::encode(id);
            Evidence {
                url: format!("{}/traces/{trace_id}", self.base),
                api_url: format!("{}/api/traces/{trace_id}", self.base),
                trace_id,
            }
        });
        evidence.collect()
    }
}

impl RuleState {
    /// The group with these labels; `None` when there is no place for it.
    fn group(&mut self, labels: Labels, now: u64) -> Option<&mut Group> {
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&labels) {
            self.refused += 1;
            return None;
        }
        Some(self.groups.entry(labels).or_insert_with(|| Group::new(now)))
    }
}

/// RFC 3339; `None` for a time that is not set.
pub(super) fn time(nanoseconds: u64) -> Option<String> {
    let time = Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()?;
    (nanoseconds > 0).then(|| time.to_string())
}
