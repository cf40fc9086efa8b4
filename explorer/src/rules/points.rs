//! What a data point of a metric says to one rule.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::group::{Course, Sample, nanoseconds};
use super::label::{self, Labels};
use super::rule::{Condition, Rule};
use crate::store::metrics::SeriesView;

/// The newest point of a series.
pub(super) struct Point {
    /// A hash of what identifies the series.
    pub series: u64,
    pub sample: Sample,
    pub course: Course,
}

/// The metric of a rule that is about one.
pub(super) fn metric(rule: &Rule) -> Option<&str> {
    match &rule.condition {
        Condition::Metric { name, .. } => Some(name),
        _ => None,
    }
}

/// `None` for a series that the rule does not look at, or whose value is no number.
pub(super) fn point(rule: &Rule, view: &SeriesView, now: u64) -> Option<(Labels, Point)> {
    let service = &view.source.service;
    let wanted = metric(rule) == Some(&view.instrument.name)
        && rule.service.as_ref().is_none_or(|wanted| wanted == service)
        && label::fit_json(&rule.attributes, &view.attributes);
    if !wanted {
        return None;
    }
    let (value, count) = match view.point.number() {
        Some(value) => (value, 0.0),
        None => view
            .point
            .count_and_sum()
            .map(|(count, sum)| (sum, count))?,
    };
    if !value.is_finite() {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    let attributes = Value::from(view.attributes.clone()).to_string();
    (&*view.source, attributes).hash(&mut hasher);
    let point = Point {
        series: hasher.finish(),
        sample: Sample {
            at: now,
            value,
            count,
        },
        course: course(rule, view),
    };
    let labels = label::of_json(rule.by.as_deref(), service, &view.attributes);
    Some((labels, point))
}

fn course(rule: &Rule, view: &SeriesView) -> Course {
    let (start, time) = (view.point.start, view.point.time);
    match (view.instrument.kind, view.instrument.temporality) {
        ("gauge", _) => Course::Gauge,
        (_, Some("delta")) => Course::Delta,
        // Both times are the sender's, so that its clock need not be right.
        _ => Course::Total {
            young: start > 0 && time.saturating_sub(start) <= nanoseconds(rule.window),
        },
    }
}
