//! What is said of groups of traces whose difference is known.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;

use crate::difference::{Difference, Evidence, Selection, difference};
use crate::filter::{self, Filter};
use crate::store::tests::source;
use crate::store::traces::ReceivedSpan;
use crate::store::{MemoryLimits, TelemetryStore};

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Any::StringValue(value.to_owned()))
}

/// One request of the gateway that calls a model; 12 milliseconds of it in the model.
struct Request {
    number: u64,
    variant: &'static str,
    length: i64,
    model_ms: u64,
    failed: bool,
}

impl Request {
    fn plain(number: u64) -> Request {
        Request {
            number,
            variant: if number.is_multiple_of(2) {
                "primary"
            } else {
                "canary"
            },
            length: (number * 7 % 40).cast_signed(),
            model_ms: 12,
            failed: false,
        }
    }

    fn put(&self, store: &TelemetryStore) {
        let start = 1_760_000_000_000_000_000 + self.number * 1_000_000_000;
        let mut trace_id = vec![7; 8];
        trace_id.extend(self.number.to_be_bytes());
        let status = |failed: bool| {
            Some(Status {
                code: if failed { 2 } else { 0 },
                ..Status::default()
            })
        };
        let span = |id: u8, parent: u8, name: &str, milliseconds: u64| Span {
            trace_id: trace_id.clone(),
            span_id: vec![id; 8],
            parent_span_id: if parent == 0 {
                Vec::new()
            } else {
                vec![parent; 8]
            },
            name: name.to_owned(),
            start_time_unix_nano: start + u64::from(id) * 1_000,
            end_time_unix_nano: start + u64::from(id) * 1_000 + milliseconds * 1_000_000,
            status: status(self.failed),
            ..Span::default()
        };
        let code = if self.failed { 502 } else { 200 };
        let root = Span {
            kind: 2,
            attributes: vec![
                text("http.route", "/v1/predictions"),
                text("ml.data_id", &format!("wine-{:04}", self.number)),
                attribute("http.response.status_code", Any::IntValue(code)),
            ],
            ..span(1, 0, "POST /v1/predictions", self.model_ms + 3)
        };
        let predict = Span {
            attributes: vec![text("ml.variant", self.variant)],
            ..span(2, 1, "predict wine", self.model_ms)
        };
        let stage = Span {
            attributes: vec![attribute("ml.input.length", Any::IntValue(self.length))],
            status: status(false),
            ..span(3, 2, "preprocess_input", 1)
        };
        for (service, span) in [
            ("gateway", root),
            ("model-service", predict),
            ("model-service", stage),
        ] {
            let received = ReceivedSpan::decode(&span.encode_to_vec())
                .unwrap()
                .unwrap();
            assert_eq!(store.traces.insert(source(service), vec![received]), 0);
        }
    }
}

fn store(requests: impl Iterator<Item = Request>) -> TelemetryStore {
    let store = TelemetryStore::new(MemoryLimits {
        max_bytes: 1 << 26,
        max_traces: 10_000,
    });
    requests.for_each(|request| request.put(&store));
    store
}

fn compare(store: &TelemetryStore, selection: &Selection) -> Difference {
    let traces = filter::matching(&store.traces, &Filter::default(), usize::MAX);
    difference(store, &traces, selection)
}

#[track_caller]
fn first(found: &Difference) -> (&str, &str) {
    let first = found.ranked.first().expect("a difference");
    (&first.name, &first.origin)
}

#[test]
fn a_slow_variant_is_named_before_the_place_where_it_is_slow() {
    let store = store((0..100).map(|number| {
        let plain = Request::plain(number);
        let canary = number % 10 == 1;
        Request {
            variant: if canary { "canary" } else { "primary" },
            model_ms: if canary { 200 } else { 12 },
            ..plain
        }
    }));
    let found = compare(&store, &Selection::Slow);
    assert_eq!((found.selected, found.rest), (10, 90));
    assert_eq!(first(&found), ("ml.variant", "predict"), "{found:#?}");
    let Evidence::Categories(categories) = &found.ranked[0].evidence else {
        panic!("{found:#?}");
    };
    let counts: Vec<_> = categories
        .iter()
        .map(|category| (category.value.as_str(), category.selected, category.rest))
        .collect();
    assert_eq!(counts, [("canary", 10, 0), ("primary", 0, 90)]);
    // (10 + 1) / (10 + 2) against 1 / (90 + 2).
    assert!((categories[0].lift - 11.0 / 12.0 * 92.0).abs() < 1e-9);
    assert!((found.ranked[0].distance - 1.0).abs() < 1e-9);
}

#[test]
fn a_slow_service_is_named_by_the_time_on_the_path() {
    let store = store((0..100).map(|number| Request {
        model_ms: if number % 12 == 5 { 200 } else { 12 },
        ..Request::plain(number)
    }));
    let found = compare(&store, &Selection::Slow);
    assert_eq!(
        first(&found),
        ("time on the critical path", "model-service predict wine"),
        "{found:#?}"
    );
}

#[test]
fn a_range_of_inputs_is_named() {
    let store = store((0..200).map(|number| {
        let plain = Request::plain(number);
        let model_ms = if plain.length >= 36 { 200 } else { 12 };
        Request { model_ms, ..plain }
    }));
    let slow = Selection::Rectangle {
        from: 0,
        to: u64::MAX,
        min: 100_000_000,
        max: u64::MAX,
    };
    let found = compare(&store, &slow);
    assert_eq!(
        first(&found),
        ("ml.input.length", "preprocess_input"),
        "{found:#?}"
    );
    let Evidence::Numbers(bins) = &found.ranked[0].evidence else {
        panic!("{found:#?}");
    };
    assert_eq!(
        bins.iter()
            .map(|bin| bin.selected + bin.rest)
            .sum::<usize>(),
        200
    );
    assert_eq!((bins[7].selected, bins[7].rest), (20, 5));
}

#[test]
fn an_error_is_named_by_the_place_where_it_began() {
    let store = store((0..60).map(|number| Request {
        failed: number.is_multiple_of(6),
        ..Request::plain(number)
    }));
    let found = compare(&store, &Selection::Failed);
    assert_eq!(first(&found), ("error began in", "trace"), "{found:#?}");
    let Evidence::Categories(categories) = &found.ranked[0].evidence else {
        panic!("{found:#?}");
    };
    assert_eq!(categories[0].value, "model-service predict wine");
}

#[test]
fn an_identifier_is_no_difference_and_one_with_many_values_is_left_out() {
    // Forty ids are few enough to compare, and each is on one side only.
    let few = compare(
        &store((0..40).map(Request::plain)),
        &Selection::Variant("canary".to_owned()),
    );
    assert_eq!(first(&few), ("ml.variant", "predict"));
    assert!(
        few.ranked.iter().all(|ranked| ranked.name != "ml.data_id"),
        "{few:#?}"
    );
    assert_eq!(few.left_out, Vec::<String>::new());
    let many = compare(
        &store((0..60).map(Request::plain)),
        &Selection::Variant("canary".to_owned()),
    );
    assert_eq!(many.left_out, ["ml.data_id of gateway"]);
}

#[test]
fn fewer_than_five_say_nothing() {
    let failed = |count: u64| {
        store((0..50).map(move |number| Request {
            failed: number < count,
            ..Request::plain(number)
        }))
    };
    let four = compare(&failed(4), &Selection::Failed);
    assert_eq!((four.selected, four.rest, four.ranked.len()), (4, 46, 0));
    let five = compare(&failed(5), &Selection::Failed);
    assert!(!five.ranked.is_empty());
    let all = compare(&failed(50), &Selection::Failed);
    assert_eq!((all.rest, all.ranked.len()), (0, 0));
}
