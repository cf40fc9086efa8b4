//! What one span or log record says to one rule.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};

use super::label::{self, Labels};
use super::rule::{Condition, Rule, SpanFilter};
use crate::store::{Source, TraceId};

/// One item that a rule counts.
#[derive(Debug, PartialEq)]
pub(super) struct Observation {
    pub bad: bool,
    /// How long a span took, for a rule on latency.
    pub seconds: Option<f64>,
    pub traces: Vec<TraceId>,
}

/// What a log record means.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Seen(Observation),
    /// What a rule reports is over.
    Over,
}

/// `None` for a span that the rule does not look at.
pub(super) fn span(
    rule: &Rule,
    source: &Source,
    trace: TraceId,
    span: &Span,
) -> Option<(Labels, Observation)> {
    let (bad, seconds) = match &rule.condition {
        Condition::ErrorRate(filter) if admits(filter, span) => {
            let status = span.status.as_ref();
            let failed = status.is_some_and(|status| status.code() == StatusCode::Error);
            (failed, None)
        }
        Condition::Latency {
            filter,
            longer_than,
            ..
        } if admits(filter, span) => {
            let end = span.end_time_unix_nano;
            let seconds = end.saturating_sub(span.start_time_unix_nano) as f64 / 1e9;
            (seconds > *longer_than, Some(seconds))
        }
        Condition::Attribute {
            filter,
            attribute,
            bad,
        } if admits(filter, span) => {
            let value = label::number(&span.attributes, attribute)?;
            (bad.is_bad(value), None)
        }
        _ => return None,
    };
    if !is_of_service(rule, source) || !label::fit(&rule.attributes, &span.attributes) {
        return None;
    }
    let observation = Observation {
        bad,
        seconds,
        traces: vec![trace],
    };
    let labels = labels(rule, source, Some(&span.name), &span.attributes);
    Some((labels, observation))
}

/// `None` for a record that the rule does not look at.
pub(super) fn log(
    rule: &Rule,
    source: &Source,
    trace: Option<TraceId>,
    record: &LogRecord,
) -> Option<(Labels, Said)> {
    let Condition::Event {
        name,
        bad,
        trace_ids,
        resolved_by,
    } = &rule.condition
    else {
        return None;
    };
    if !is_of_service(rule, source) {
        return None;
    }
    let labels = || labels(rule, source, None, &record.attributes);
    if resolved_by.as_ref() == Some(&record.event_name) {
        return Some((labels(), Said::Over));
    }
    if *name != record.event_name || !label::fit(&rule.attributes, &record.attributes) {
        return None;
    }
    let bad = match bad {
        Some((attribute, bad)) => bad.is_bad(label::number(&record.attributes, attribute)?),
        None => true,
    };
    let listed = trace_ids.iter();
    let listed = listed.flat_map(|name| label::trace_ids(&record.attributes, name));
    let observation = Observation {
        bad,
        seconds: None,
        traces: listed.chain(trace).collect(),
    };
    Some((labels(), Said::Seen(observation)))
}

fn admits(filter: &SpanFilter, span: &Span) -> bool {
    filter
        .name
        .as_ref()
        .is_none_or(|name| match name.strip_suffix('*') {
            Some(start) => span.name.starts_with(start),
            None => span.name == *name,
        })
        && filter.kind.is_none_or(|kind| span.kind() == kind)
}

fn is_of_service(rule: &Rule, source: &Source) -> bool {
    rule.service
        .as_ref()
        .is_none_or(|service| *service == source.service)
}

fn labels(
    rule: &Rule,
    source: &Source,
    span_name: Option<&str>,
    attributes: &[KeyValue],
) -> Labels {
    let by = rule.by.as_deref().unwrap_or_default();
    let fallback = |name: &str| match name {
        "service.name" => source.service.as_str(),
        "span.name" => span_name.unwrap_or_default(),
        _ => "",
    };
    label::of_attributes(by, fallback, attributes)
}
