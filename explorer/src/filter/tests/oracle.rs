//! Random filters over random traces, against a reading of every span that is as plain as the
//! documentation: decode everything, then test term by term.

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, KeyValue, any_value::Value as Any,
};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::examples::{attribute, put, text};
use crate::filter::{Parameters, matching};
use crate::store::TraceStore;
use crate::trace::{SpanKind, Trace};

const KEYS: [&str; 5] = [
    "ml.model_name",
    "ml.variant",
    "ml.model_version",
    "http.route",
    "a b",
];
const TEXTS: [&str; 8] = [
    "wine", "WINE red", "canary", "2", "0.5", "true", "not", "NaN",
];
const SERVICES: [&str; 3] = ["gateway", "model-service", "wine"];
const NAMES: [&str; 3] = ["predict wine", "POST /v1/predictions", "layer"];

#[derive(Clone, Debug)]
enum Term {
    Service(&'static str),
    /// One of the parameters of its own, and the attribute that it stands for.
    Named(&'static str, &'static str, &'static str),
    Where(&'static str, &'static str, &'static str),
    Failed(bool),
    Cached(bool),
    MinDuration(u64),
    MaxDuration(u64),
    Since(u64),
    Until(u64),
    Text(&'static str),
}

/// A span of one of four traces, with its resource.
type SomeSpan = (Span, Vec<KeyValue>);

fn some_value() -> impl Strategy<Value = Any> {
    prop_oneof![
        select(&TEXTS).prop_map(|text| Any::StringValue(text.to_owned())),
        (-1..4_i64).prop_map(Any::IntValue),
        select(vec![0.5, 2.0, -1.0, f64::NAN, f64::INFINITY]).prop_map(Any::DoubleValue),
        any::<bool>().prop_map(Any::BoolValue),
        select(&TEXTS).prop_map(|text| {
            let value = Some(Any::StringValue(text.to_owned()));
            Any::ArrayValue(ArrayValue {
                values: vec![AnyValue { value }],
            })
        }),
    ]
}

fn some_attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    (
        subsequence(&KEYS, 0..=3),
        prop::collection::vec(some_value(), 3),
    )
        .prop_map(|(keys, values)| {
            keys.into_iter()
                .zip(values)
                .map(|(key, value)| attribute(key, value))
                .collect()
        })
}

fn some_span() -> impl Strategy<Value = SomeSpan> {
    let times = (0..4_u64, 0..6_u64);
    let shape = (
        select(&NAMES),
        0..4_i32,
        0..2_usize,
        0..3_i32,
        select(&TEXTS),
    );
    let place = (1..5_u8, 1..200_u8);
    let attributes = (some_attributes(), some_attributes(), some_attributes());
    (place, times, shape, attributes, select(&SERVICES)).prop_map(
        |(
            (trace, id),
            (start, length),
            (name, kind, links, code, message),
            attributes,
            service,
        )| {
            let (own, of_event, mut resource) = attributes;
            resource.push(text("service.name", service));
            let event = Event {
                name: name.to_owned(),
                attributes: of_event,
                ..Event::default()
            };
            let span = Span {
                trace_id: vec![trace; 16],
                span_id: vec![id; 8],
                name: name.to_owned(),
                kind,
                start_time_unix_nano: start * 1_000_000,
                end_time_unix_nano: (start + length) * 1_000_000,
                attributes: own,
                events: vec![event],
                links: vec![Link::default(); links],
                status: Some(Status {
                    code,
                    message: message.to_owned(),
                }),
                ..Span::default()
            };
            (span, resource)
        },
    )
}

fn some_term() -> impl Strategy<Value = Term> {
    const NAMED: [(&str, &str); 3] = [
        ("model", "ml.model_name"),
        ("variant", "ml.variant"),
        ("version", "ml.model_version"),
    ];
    const OPERATORS: [&str; 4] = ["is", "is not", "contains", "does not contain"];
    prop_oneof![
        select(&SERVICES).prop_map(Term::Service),
        (select(&NAMED), select(&TEXTS))
            .prop_map(|((name, key), value)| Term::Named(name, key, value)),
        (select(&KEYS), select(&OPERATORS), select(&TEXTS))
            .prop_map(|(key, operator, value)| Term::Where(key, operator, value)),
        (
            select(&KEYS),
            select(vec![">", "<"]),
            select(vec!["0", "0.5", "2"])
        )
            .prop_map(|(key, operator, value)| Term::Where(key, operator, value)),
        any::<bool>().prop_map(Term::Failed),
        any::<bool>().prop_map(Term::Cached),
        (0..8_u64).prop_map(Term::MinDuration),
        (0..8_u64).prop_map(Term::MaxDuration),
        (0..5_u64).prop_map(Term::Since),
        (0..5_u64).prop_map(Term::Until),
        select(&TEXTS).prop_map(Term::Text),
        select(vec!["predict", "gateway", "0303", "layer"]).prop_map(Term::Text),
    ]
}

impl Term {
    fn parameter(&self) -> (String, String) {
        let time = |milliseconds: u64| format!("1970-01-01T00:00:00.00{milliseconds}Z");
        let (name, value) = match self {
            Term::Service(service) => ("service", (*service).to_owned()),
            Term::Named(name, _, value) => (*name, (*value).to_owned()),
            Term::Where(key, operator, value) => {
                let key = if key.contains(' ') {
                    format!("{key:?}")
                } else {
                    (*key).to_owned()
                };
                let quoted = if *value == "not" { "\"not\"" } else { value };
                ("where", format!("{key} {operator} {quoted}"))
            }
            Term::Failed(failed) => ("status", if *failed { "error" } else { "ok" }.to_owned()),
            Term::Cached(cached) => ("cached", if *cached { "yes" } else { "no" }.to_owned()),
            Term::MinDuration(number) => ("min_duration_ms", number.to_string()),
            Term::MaxDuration(number) => ("max_duration_ms", number.to_string()),
            Term::Since(number) => ("since", time(*number)),
            Term::Until(number) => ("until", time(*number)),
            Term::Text(text) => ("q", (*text).to_owned()),
        };
        (name.to_owned(), value)
    }

    fn holds(&self, trace: &Trace) -> bool {
        let mut spans = trace.spans.iter();
        let predicts = || {
            trace
                .spans
                .iter()
                .any(|span| span.name.starts_with("predict "))
        };
        match *self {
            Term::Service(service) => spans.any(|span| span.service == service),
            Term::Named(_, key, value) => attribute_holds(trace, key, "is", value),
            Term::Where(key, operator, value) => attribute_holds(trace, key, operator, value),
            Term::Failed(failed) => failed == spans.any(crate::SpanData::is_error),
            Term::Cached(true) => {
                let reuses =
                    spans.any(|span| span.kind == SpanKind::Server && !span.links.is_empty());
                reuses && !predicts()
            }
            Term::Cached(false) => predicts(),
            Term::MinDuration(milliseconds) => trace.duration() >= milliseconds * 1_000_000,
            Term::MaxDuration(milliseconds) => trace.duration() <= milliseconds * 1_000_000,
            Term::Since(milliseconds) => trace.start() >= milliseconds * 1_000_000,
            Term::Until(milliseconds) => trace.start() <= milliseconds * 1_000_000,
            Term::Text(part) => texts(trace).iter().any(|text| contains(text, part)),
        }
    }
}

fn attributes(trace: &Trace) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for span in &trace.spans {
        all.extend(span.attributes.clone());
        all.extend((*span.resource).clone());
        all.extend(
            span.events
                .iter()
                .flat_map(|event| event.attributes.clone()),
        );
    }
    all
}

fn attribute_holds(trace: &Trace, key: &str, operator: &str, wanted: &str) -> bool {
    let all = attributes(trace);
    let mut values = all
        .iter()
        .filter(|(name, _)| name == key)
        .map(|(_, value)| value);
    let parsed = wanted.parse::<f64>().ok();
    let number = |value: &Value| value.as_f64().or_else(|| as_text(value).parse().ok());
    match operator {
        "is" => values.any(|value| {
            as_text(value) == wanted || (value.is_number() && value.as_f64() == parsed)
        }),
        "is not" => !attribute_holds(trace, key, "is", wanted),
        "contains" => values.any(|value| contains(&as_text(value), wanted)),
        "does not contain" => !attribute_holds(trace, key, "contains", wanted),
        ">" => values.any(|value| number(value) > parsed),
        _ => values.any(|value| number(value).is_some_and(|number| Some(number) < parsed)),
    }
}

fn texts(trace: &Trace) -> Vec<String> {
    let mut texts = vec![trace.trace_id.clone()];
    texts.extend(attributes(trace).iter().map(|(_, value)| as_text(value)));
    for span in &trace.spans {
        texts.extend([span.name.clone(), span.service.clone()]);
        texts.extend(span.events.iter().map(|event| event.name.clone()));
        if let crate::trace::SpanStatus::Error(message) = &span.status {
            texts.push(message.clone());
        }
    }
    texts
}

fn as_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn contains(text: &str, part: &str) -> bool {
    text.to_ascii_lowercase()
        .contains(&part.to_ascii_lowercase())
}

/// The traces that hold every term, in the order of `sort`.
fn naive(store: &TraceStore, terms: &[Term], sort: &str) -> Vec<String> {
    let ids = store.outlines(None).into_iter().map(|trace| trace.id);
    let traces = ids.map(|id| Trace::from_resource_spans(store.get(id).unwrap()).unwrap());
    let mut traces: Vec<Trace> = traces
        .filter(|trace| terms.iter().all(|term| term.holds(trace)))
        .collect();
    traces.sort_by(|a, b| a.trace_id.cmp(&b.trace_id));
    match sort {
        "newest" => traces.sort_by_key(|trace| u64::MAX - trace.start()),
        "oldest" => traces.sort_by_key(Trace::start),
        "slowest" => traces.sort_by_key(|trace| u64::MAX - trace.duration()),
        _ => traces.sort_by_key(Trace::duration),
    }
    traces.into_iter().map(|trace| trace.trace_id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_fast_way_finds_what_the_naive_one_finds(
        spans in prop::collection::vec(some_span(), 1..12),
        terms in prop::collection::vec(some_term(), 0..4),
        sort in select(vec!["newest", "oldest", "slowest", "fastest"]),
        at_most in 1..5_usize,
    ) {
        let store = TraceStore::new(1 << 24, 100);
        for (span, resource) in spans {
            put(&store, resource, &span);
        }
        let mut terms = terms;
        let mut given = Vec::new();
        // Only `where` can be given twice.
        terms.retain(|term| {
            let (name, _) = term.parameter();
            let first = name == "where" || !given.contains(&name);
            given.push(name);
            first
        });
        let mut query = Serializer::new(String::new());
        query.extend_pairs(terms.iter().map(Term::parameter)).append_pair("sort", sort);
        let query = query.finish();
        let filter = Parameters::parse(&query).filter(0).map_err(TestCaseError::fail)?;
        let found = matching(&store, &filter, at_most);
        let found: Vec<_> = found.iter().map(|trace| hex::encode(trace.id)).collect();
        let mut expected = naive(&store, &terms, sort);
        expected.truncate(at_most);
        prop_assert_eq!(found, expected, "{}", query);
    }
}
