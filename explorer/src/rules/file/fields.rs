//! The fields of one rule as they are written, and whether they fit together.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{LONGEST_WINDOW, duration, require};
use crate::rules::rule::{
    Aggregate, Condition, PrometheusRule, Rule, Severity, SpanFilter, Threshold,
};

const MAX_LABELS: usize = 8;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    ErrorRate,
    Latency,
    Attribute,
    Event,
    Metric,
}

/// A rule as it is written; which fields fit its kind is checked by [`RuleFile::rule`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    pub name: String,
    kind: Kind,
    summary: String,
    #[serde(default = "ticket")]
    severity: Severity,
    action: Option<String>,
    service: Option<String>,
    span: Option<String>,
    span_kind: Option<String>,
    event: Option<String>,
    metric: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, Value>,
    attribute: Option<String>,
    above: Option<f64>,
    below: Option<f64>,
    #[serde(default, deserialize_with = "optional_duration")]
    longer_than: Option<Duration>,
    quantile: Option<f64>,
    share: Option<f64>,
    #[serde(default)]
    more_than: u64,
    aggregate: Option<Aggregate>,
    by: Option<Vec<String>>,
    trace_ids: Option<String>,
    resolved_by: Option<String>,
    #[serde(deserialize_with = "duration")]
    window: Duration,
    #[serde(default, rename = "for", deserialize_with = "duration")]
    pending: Duration,
    #[serde(default, deserialize_with = "duration")]
    keep_firing_for: Duration,
    #[serde(default = "tenth")]
    hysteresis: f64,
    prometheus: Option<PrometheusRule>,
}

impl RuleFile {
    /// The rule, or what is wrong with it.
    pub(super) fn rule(self) -> Result<Rule, String> {
        self.check_fields()?;
        self.check_numbers()?;
        let condition = self.condition()?;
        let share = match condition {
            Condition::ErrorRate(_) => self.above.unwrap_or_default(),
            Condition::Latency { quantile, .. } => 1.0 - quantile,
            _ => self.share.unwrap_or_default(),
        };
        Ok(Rule {
            condition,
            share,
            name: self.name,
            summary: self.summary,
            severity: self.severity,
            action: self.action,
            service: self.service,
            attributes: self.attributes,
            by: self.by,
            more_than: self.more_than,
            window: self.window,
            pending: self.pending,
            keep_firing: self.keep_firing_for,
            hysteresis: self.hysteresis,
            prometheus: self.prometheus,
        })
    }

    fn check_numbers(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        require(
            !self.name.is_empty() && self.name.len() <= 64 && self.name.chars().all(plain),
            "a name has up to 64 of a-z, 0-9, - and _",
        )?;
        require(
            self.summary.len() <= 200,
            "`summary` has more than 200 bytes",
        )?;
        require(
            (Duration::from_secs(1)..=LONGEST_WINDOW).contains(&self.window),
            "`window` must be between 1s and 24h",
        )?;
        require(
            self.pending.max(self.keep_firing_for) <= LONGEST_WINDOW,
            "`for` and `keep_firing_for` must be 24h at most",
        )?;
        require(
            (0.0..1.0).contains(&self.hysteresis),
            "`hysteresis` must be at least 0 and below 1",
        )?;
        require(
            self.share.is_none_or(|share| (0.0..1.0).contains(&share)),
            "`share` must be at least 0 and below 1",
        )?;
        let finite = |number: Option<f64>| number.is_none_or(f64::is_finite);
        require(
            finite(self.above) && finite(self.below),
            "`above` and `below` must be finite",
        )?;
        require(
            self.by.as_ref().is_none_or(|by| by.len() <= MAX_LABELS),
            "`by` has more than 8 attributes",
        )
    }

    /// Refuses a field that the kind does not read: it would look like a condition and be none.
    fn check_fields(&self) -> Result<(), String> {
        let given = [
            ("span", self.span.is_some()),
            ("span_kind", self.span_kind.is_some()),
            ("event", self.event.is_some()),
            ("metric", self.metric.is_some()),
            ("attribute", self.attribute.is_some()),
            ("above", self.above.is_some()),
            ("below", self.below.is_some()),
            ("longer_than", self.longer_than.is_some()),
            ("quantile", self.quantile.is_some()),
            ("share", self.share.is_some()),
            ("aggregate", self.aggregate.is_some()),
            ("trace_ids", self.trace_ids.is_some()),
            ("resolved_by", self.resolved_by.is_some()),
        ];
        let (kind, fields): (_, &[&str]) = match self.kind {
            Kind::ErrorRate => ("error_rate", &["span", "span_kind", "above"]),
            Kind::Latency => ("latency", &["span", "span_kind", "longer_than", "quantile"]),
            Kind::Attribute => (
                "attribute",
                &["span", "span_kind", "attribute", "above", "below", "share"],
            ),
            Kind::Event => (
                "event",
                &[
                    "event",
                    "attribute",
                    "above",
                    "below",
                    "share",
                    "trace_ids",
                    "resolved_by",
                ],
            ),
            Kind::Metric => ("metric", &["metric", "above", "below", "aggregate"]),
        };
        for (name, given) in given {
            let problem = format!("`{name}` is no field of the kind `{kind}`");
            require(!given || fields.contains(&name), &problem)?;
        }
        Ok(())
    }

    fn condition(&self) -> Result<Condition, String> {
        Ok(match self.kind {
            Kind::ErrorRate => {
                let share = self
                    .above
                    .ok_or("`above` is missing: the share that may fail")?;
                require(
                    (0.0..1.0).contains(&share),
                    "`above` must be at least 0 and below 1",
                )?;
                Condition::ErrorRate(self.spans()?)
            }
            Kind::Latency => {
                let quantile = self.quantile.unwrap_or(0.95);
                require(
                    (0.0..1.0).contains(&quantile),
                    "`quantile` must be at least 0 and below 1",
                )?;
                let longest = self.longer_than;
                Condition::Latency {
                    filter: self.spans()?,
                    quantile,
                    longer_than: longest.ok_or("`longer_than` is missing")?.as_secs_f64(),
                }
            }
            Kind::Attribute => Condition::Attribute {
                filter: self.spans()?,
                attribute: needed("attribute", self.attribute.as_ref())?,
                bad: self.threshold()?,
            },
            Kind::Event => Condition::Event {
                name: needed("event", self.event.as_ref())?,
                bad: self.event_threshold()?,
                trace_ids: self.trace_ids.clone(),
                resolved_by: self.resolved_by.clone(),
            },
            Kind::Metric => Condition::Metric {
                name: needed("metric", self.metric.as_ref())?,
                aggregate: self.aggregate.unwrap_or(Aggregate::Last),
                bad: self.threshold()?,
            },
        })
    }

    /// The attribute of an event that decides; without one, every such event counts.
    fn event_threshold(&self) -> Result<Option<(String, Threshold)>, String> {
        if let Some(attribute) = &self.attribute {
            return Ok(Some((attribute.clone(), self.threshold()?)));
        }
        let limit = self.above.or(self.below).or(self.share);
        require(
            limit.is_none(),
            "`above`, `below` and `share` need `attribute`",
        )?;
        Ok(None)
    }

    fn threshold(&self) -> Result<Threshold, String> {
        match (self.above, self.below) {
            (Some(limit), None) => Ok(Threshold::Above(limit)),
            (None, Some(limit)) => Ok(Threshold::Below(limit)),
            _ => Err("give one of `above` and `below`".to_owned()),
        }
    }

    fn spans(&self) -> Result<SpanFilter, String> {
        let kind = match self.span_kind.as_deref() {
            None => None,
            Some("internal") => Some(SpanKind::Internal),
            Some("server") => Some(SpanKind::Server),
            Some("client") => Some(SpanKind::Client),
            Some("producer") => Some(SpanKind::Producer),
            Some("consumer") => Some(SpanKind::Consumer),
            Some(_) => {
                return Err(
                    "`span_kind` is internal, server, client, producer or consumer".to_owned(),
                );
            }
        };
        Ok(SpanFilter {
            name: self.span.clone(),
            kind,
        })
    }
}

fn needed(field: &str, value: Option<&String>) -> Result<String, String> {
    value
        .cloned()
        .ok_or_else(|| format!("`{field}` is missing"))
}

fn optional_duration<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    duration(input).map(Some)
}

fn ticket() -> Severity {
    Severity::Ticket
}

fn tenth() -> f64 {
    0.1
}
