//! A rule as it runs: what it measures, and from where on that is bad.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde::Deserialize;
use serde_json::Value;

use super::RuleFacts;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    Page,
    Ticket,
}

impl Severity {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Severity::Page => "page",
            Severity::Ticket => "ticket",
        }
    }
}

/// A limit, and the side of it that is bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Threshold {
    Above(f64),
    Below(f64),
}

/// Which spans a rule looks at. A name that ends in `*` is the beginning of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpanFilter {
    pub name: Option<String>,
    pub kind: Option<SpanKind>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aggregate {
    /// The newest value of a gauge.
    Last,
    /// The mean of what a histogram got in the window.
    Mean,
    /// What a counter grew by, per second of the window.
    Rate,
}

/// What a rule measures.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    ErrorRate(SpanFilter),
    /// Seconds that a span may take, and the quantile that may not be above.
    Latency {
        filter: SpanFilter,
        quantile: f64,
        longer_than: f64,
    },
    /// A number among the attributes of a span.
    Attribute {
        filter: SpanFilter,
        attribute: String,
        bad: Threshold,
    },
    /// A log record by the name of its event; with an attribute, its value decides.
    Event {
        name: String,
        bad: Option<(String, Threshold)>,
        /// An attribute with trace ids, separated by commas.
        trace_ids: Option<String>,
        /// The event that ends it at once.
        resolved_by: Option<String>,
    },
    Metric {
        name: String,
        aggregate: Aggregate,
        bad: Threshold,
    },
}

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub name: String,
    pub summary: String,
    pub severity: Severity,
    pub action: Option<String>,
    pub condition: Condition,
    pub service: Option<String>,
    /// Attributes that an item must have.
    pub attributes: BTreeMap<String, Value>,
    /// Attributes whose values make groups, each with a state of its own.
    pub by: Option<Vec<String>>,
    /// The share of bad items that is still good.
    pub share: f64,
    /// The number of bad items that is still good; for a mean, of observations.
    pub more_than: u64,
    pub window: Duration,
    pub pending: Duration,
    pub keep_firing: Duration,
    /// How far below its limit a value must be again, as a part of it.
    pub hysteresis: f64,
    pub prometheus: Option<PrometheusRule>,
}

/// The rule in `PromQL`. `{window}`, `{share}`, `{more_than}` and `{item}` are replaced.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrometheusRule {
    pub alert: String,
    pub expr: String,
    pub summary: Option<String>,
}

impl Rule {
    pub(super) fn facts(&self) -> RuleFacts<'_> {
        RuleFacts {
            name: &self.name,
            summary: &self.summary,
            item: self.item(),
            more_than: self.more_than,
            window_seconds: self.window.as_secs(),
            alert: self.prometheus.as_ref().map(|rule| rule.alert.as_str()),
        }
    }

    /// The number that makes one item bad.
    pub(super) fn item(&self) -> Option<f64> {
        match &self.condition {
            Condition::ErrorRate(_) => None,
            Condition::Latency { longer_than, .. } => Some(*longer_than),
            Condition::Attribute { bad, .. } | Condition::Metric { bad, .. } => Some(bad.limit()),
            Condition::Event { bad, .. } => bad.as_ref().map(|(_, bad)| bad.limit()),
        }
    }
}

impl Condition {
    pub(super) fn is_about_spans(&self) -> bool {
        matches!(
            self,
            Condition::ErrorRate(_) | Condition::Latency { .. } | Condition::Attribute { .. }
        )
    }
}

impl Threshold {
    pub(crate) fn limit(self) -> f64 {
        match self {
            Threshold::Above(limit) | Threshold::Below(limit) => limit,
        }
    }

    pub(crate) fn is_bad(self, value: f64) -> bool {
        match self {
            Threshold::Above(limit) => value > limit,
            Threshold::Below(limit) => value < limit,
        }
    }

    /// Whether a value is good by more than the margin, a part of the limit.
    pub(crate) fn is_clear(self, value: f64, margin: f64) -> bool {
        match self {
            Threshold::Above(limit) => value <= limit - limit.abs() * margin,
            Threshold::Below(limit) => value >= limit + limit.abs() * margin,
        }
    }
}
