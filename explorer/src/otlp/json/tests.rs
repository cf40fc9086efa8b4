//! Literal OTLP/JSON documents, as real senders write them.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;

use super::{decode, to_protobuf};
use crate::attribute::plain_map;
use crate::otlp::rejected::RejectedItems;

fn span(json: &str) -> Span {
    let document = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{json}]}}]}}]}}"#);
    let request: ExportTraceServiceRequest = decode(document.as_bytes()).unwrap();
    request.resource_spans[0].scope_spans[0].spans[0].clone()
}

#[test]
fn reads_the_span_of_the_specification() {
    let span = span(
        r#"{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173",
        "name":"I'm a server span","startTimeUnixNano":"1544712660000000000","endTimeUnixNano":1544712661000000000,
        "kind":2,"attributes":[{"key":"my.span.attr","value":{"stringValue":"some value"}}]}"#,
    );
    assert_eq!(span.trace_id[..2], [0x5b, 0x8e]);
    assert_eq!(span.parent_span_id[7], 0x73);
    assert_eq!(
        (span.start_time_unix_nano, span.end_time_unix_nano),
        (1_544_712_660_000_000_000, 1_544_712_661_000_000_000)
    );
    assert_eq!(span.kind, 2);
    assert_eq!(span.status, None);
}

#[test]
fn every_kind_of_attribute_value() {
    let span = span(
        r#"{"attributes":[{"key":"s","value":{"stringValue":"x"}},{"key":"b","value":{"boolValue":true}},
        {"key":"i","value":{"intValue":"9007199254740993"}},{"key":"j","value":{"intValue":-5}},
        {"key":"d","value":{"doubleValue":1.5}},{"key":"whole","value":{"doubleValue":2}},
        {"key":"ds","value":{"doubleValue":"2.5"}},{"key":"nan","value":{"doubleValue":"NaN"}},
        {"key":"inf","value":{"doubleValue":"-Infinity"}},
        {"key":"a","value":{"arrayValue":{"values":[{"intValue":"1"},{"stringValue":"y"}]}}},
        {"key":"empty","value":{"arrayValue":{}}},{"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"1"}}]}}},
        {"key":"nomap","value":{"kvlistValue":{}}},{"key":"bytes","value":{"bytesValue":"AQL/"}},
        {"key":"none","value":{}},{"key":"null","value":null},{"key":"missing"},{"value":{"intValue":"3"}},
        {"key":"later","value":{"someNewValue":1}}]}"#,
    );
    assert_eq!(
        serde_json::Value::Object(plain_map(span.attributes)),
        json!({
            "s": "x", "b": true, "i": 9_007_199_254_740_993_i64, "j": -5, "d": 1.5, "whole": 2.0, "ds": 2.5, "nan": "NaN",
            "inf": "-Infinity", "a": [1, "y"], "empty": [], "map": { "k": 1 }, "nomap": {}, "bytes": "0102ff",
            "none": null, "null": null, "missing": null, "": 3, "later": null,
        })
    );
}

#[test]
fn nulls_unknown_fields_and_numbers_in_texts_are_taken() {
    let span = span(
        r#"{"traceId":"5b8efff798038103d269b633813fc60c","parentSpanId":null,"events":null,"links":null,"status":null,
        "droppedAttributesCount":"7","flags":"257","newField":{"deep":[1,null]},"kind":"3","attributes":null}"#,
    );
    assert_eq!(
        (span.dropped_attributes_count, span.flags, span.kind),
        (7, 257, 3)
    );
    assert!(span.parent_span_id.is_empty() && span.events.is_empty() && span.attributes.is_empty());
}

#[test]
fn resource_with_entities_and_empty_parts() {
    let request: ExportTraceServiceRequest = decode(
        br#"{"resourceSpans":[{},{"resource":{"entityRefs":[{"type":"service"}]},"scopeSpans":[{},{"scope":{}}]}]}"#,
    )
    .unwrap();
    assert_eq!(
        request.resource_spans[1]
            .resource
            .as_ref()
            .unwrap()
            .entity_refs[0]
            .r#type,
        "service"
    );
    assert!(
        decode::<ExportTraceServiceRequest>(b"{}")
            .unwrap()
            .resource_spans
            .is_empty()
    );
}

#[test]
fn log_records() {
    let request: ExportLogsServiceRequest = decode(
        br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","severityNumber":"10","severityText":"Information",
        "traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","body":{"stringValue":"text"},"eventName":"e"},{}]}]}]}"#,
    )
    .unwrap();
    let records = &request.resource_logs[0].scope_logs[0].log_records;
    assert_eq!(
        (
            records.len(),
            records[0].severity_number,
            records[0].event_name.as_str()
        ),
        (2, 10, "e")
    );
}

#[test]
fn metrics_of_every_kind() {
    let request: ExportMetricsServiceRequest = decode(
        br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
        {"name":"g","unit":"1","gauge":{"dataPoints":[{"asDouble":"NaN","timeUnixNano":"5"},{"asInt":"-3"},{"asDouble":2}]}},
        {"name":"s","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"asInt":7}]}},
        {"name":"h","histogram":{"aggregationTemporality":1,"dataPoints":[{"count":"3","sum":"4.5","min":null,"max":2,
          "bucketCounts":["1",2],"explicitBounds":["0.5"],"exemplars":[{"asDouble":1.5,"spanId":"eee19b7ec3c1b174"}]}]}},
        {"name":"e","exponentialHistogram":{"dataPoints":[{"count":2,"scale":"-1","positive":{"offset":-2,"bucketCounts":["2"]}}]}},
        {"name":"q","summary":{"dataPoints":[{"count":"2","sum":3.5,"quantileValues":[{"quantile":0.5,"value":"NaN"}]}]}},
        {"name":"none"}]}]}]}"#,
    )
    .unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let Some(Data::Gauge(gauge)) = &metrics[0].data else {
        panic!("no gauge")
    };
    let values: Vec<_> = gauge.data_points.iter().map(|point| point.value).collect();
    assert!(
        matches!(values[0], Some(number_data_point::Value::AsDouble(number)) if number.is_nan())
    );
    assert_eq!(
        values[1..],
        [
            Some(number_data_point::Value::AsInt(-3)),
            Some(number_data_point::Value::AsDouble(2.0))
        ]
    );
    let Some(Data::Histogram(histogram)) = &metrics[2].data else {
        panic!("no histogram")
    };
    let point = &histogram.data_points[0];
    assert_eq!(
        (point.count, point.sum, point.min, point.max),
        (3, Some(4.5), None, Some(2.0))
    );
    assert_eq!(
        (&point.bucket_counts[..], &point.explicit_bounds[..]),
        (&[1, 2][..], &[0.5][..])
    );
    let Some(Data::ExponentialHistogram(histogram)) = &metrics[3].data else {
        panic!("no exponential histogram")
    };
    assert_eq!(histogram.data_points[0].scale, -1);
    assert!(matches!(&metrics[4].data, Some(Data::Summary(_))));
    assert_eq!(metrics[5].data, None);
}

#[test]
fn what_is_not_otlp_is_refused() {
    for document in [
        "",
        "[]",
        "null",
        "5",
        "[[]]",
        r#"{"resourceSpans":5}"#,
        r#"{"resourceSpans":[{}]} trailing"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"-1"}]}]}]}"#,
    ] {
        assert!(
            decode::<ExportTraceServiceRequest>(document.as_bytes()).is_err(),
            "{document}"
        );
    }
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(decode::<ExportTraceServiceRequest>(deep.as_bytes()).is_err());
}

#[test]
fn a_document_of_very_many_values_is_refused() {
    let spans = vec!["{}"; super::MAX_VALUES].join(",");
    let document = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
    let error = decode::<ExportTraceServiceRequest>(document.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("too many values"), "{error}");
}

/// The values of attributes `a`, one document each, as the explorer shows them.
fn attribute(value: &str) -> serde_json::Value {
    let span = span(&format!(
        r#"{{"attributes":[{{"key":"a","value":{value}}}]}}"#
    ));
    plain_map(span.attributes)["a"].clone()
}

#[test]
fn integers_with_exponents_fractions_and_in_quotes() {
    for (number, value) in [
        ("1e2", 100_i64),
        ("5.0", 5),
        ("-1.20E+1", -12),
        ("0.5e1", 5),
        ("-0", 0),
        ("0e99", 0),
        ("100e-2", 1),
        ("9007199254740993", 9_007_199_254_740_993),
        ("-9223372036854775808", i64::MIN),
        ("9223372036854775807", i64::MAX),
    ] {
        for text in [number.to_owned(), format!("\"{number}\"")] {
            assert_eq!(
                attribute(&format!(r#"{{"intValue":{text}}}"#)),
                json!(value),
                "{text}"
            );
        }
    }
    // In quotes an integer keeps all of its digits, whichever form it has.
    assert_eq!(
        attribute(r#"{"intValue":"9007199254740993.0"}"#),
        json!(9_007_199_254_740_993_i64)
    );
    assert_eq!(
        attribute(r#"{"intValue":"9.223372036854775807e18"}"#),
        json!(i64::MAX)
    );
}

#[test]
fn base64_of_both_alphabets_with_and_without_padding() {
    for (text, hex) in [
        ("-_8=", "fbff"),
        ("-_8", "fbff"),
        ("+/8=", "fbff"),
        ("+/8", "fbff"),
        ("AQL/", "0102ff"),
        ("", ""),
        ("AQ==", "01"),
        ("AR==", "01"),
    ] {
        assert_eq!(
            attribute(&format!(r#"{{"bytesValue":"{text}"}}"#)),
            hex,
            "{text}"
        );
    }
}

#[test]
fn doubles_in_quotes() {
    for (text, value) in [
        (r#""NaN""#, json!("NaN")),
        (r#""Infinity""#, json!("Infinity")),
        (r#""-Infinity""#, json!("-Infinity")),
        (r#""1e-3""#, json!(0.001)),
        ("1e3", json!(1000.0)),
        ("-0", json!(-0.0)),
    ] {
        assert_eq!(
            attribute(&format!(r#"{{"doubleValue":{text}}}"#)),
            value,
            "{text}"
        );
    }
}

#[test]
fn names_of_enums_and_original_names_of_fields() {
    let span = span(
        r#"{"trace_id":"5b8efff798038103d269b633813fc60c","span_id":"eee19b7ec3c1b174","kind":"SPAN_KIND_CLIENT",
        "start_time_unix_nano":"1e3","end_time_unix_nano":2000.0,"dropped_links_count":1e0,
        "status":{"code":"STATUS_CODE_ERROR"},"attributes":[{"key":"a","value":{"int_value":"7"}}]}"#,
    );
    assert_eq!(
        (span.kind, span.status.unwrap().code, span.span_id[0]),
        (3, 2, 0xee)
    );
    assert_eq!(
        (
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.dropped_links_count
        ),
        (1_000, 2_000, 1)
    );
    assert_eq!(plain_map(span.attributes)["a"], 7);
    let request: ExportLogsServiceRequest = decode(
        br#"{"resource_logs":[{"scope_logs":[{"log_records":[{"severity_number":"SEVERITY_NUMBER_WARN2"}]}]}]}"#,
    )
    .unwrap();
    assert_eq!(
        request.resource_logs[0].scope_logs[0].log_records[0].severity_number,
        14
    );
    let request: ExportMetricsServiceRequest = decode(
        br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"s","sum":{
        "aggregation_temporality":"AGGREGATION_TEMPORALITY_DELTA","data_points":[{"as_int":"1e1","count":2.0}]}}]}]}]}"#,
    )
    .unwrap();
    let Some(Data::Sum(sum)) = &request.resource_metrics[0].scope_metrics[0].metrics[0].data else {
        panic!("no sum")
    };
    assert_eq!(sum.aggregation_temporality, 1);
    assert_eq!(
        sum.data_points[0].value,
        Some(number_data_point::Value::AsInt(10))
    );
}

/// Values that `ProtoJSON` does not allow, as spans.
const WRONG_SPANS: [&str; 16] = [
    r#"{"traceId":"xyz"}"#,
    r#"{"startTimeUnixNano":"-1"}"#,
    r#"{"startTimeUnixNano":1.5}"#,
    r#"{"startTimeUnixNano":""}"#,
    r#"{"kind":"SPAN_KIND_UNHEARD_OF"}"#,
    r#"{"kind":2147483648}"#,
    r#"{"flags":-1}"#,
    r#"{"attributes":[{"key":"a","value":{"intValue":5.5}}]}"#,
    r#"{"attributes":[{"key":"a","value":{"intValue":"5 "}}]}"#,
    r#"{"attributes":[{"key":"a","value":{"intValue":1e19}}]}"#,
    r#"{"attributes":[{"key":"a","value":{"doubleValue":1e400}}]}"#,
    r#"{"attributes":[{"key":"a","value":{"doubleValue":"inf"}}]}"#,
    r#"{"attributes":[{"key":"a","value":{"boolValue":"true"}}]}"#,
    r#"{"attributes":[{"key":"a","value":{"bytesValue":"%%"}}]}"#,
    r#"{"name":"\ud800"}"#,
    "[]",
];

#[test]
fn one_wrong_item_leaves_the_others() {
    for wrong in WRONG_SPANS.into_iter().chain(["null", "5"]) {
        let document = format!(
            r#"{{"resourceSpans":[null,{{"scopeSpans":[null,{{"spans":[{{"name":"a"}},{wrong},{{"name":"b"}}]}}]}}]}}"#
        );
        let mut refused = RejectedItems::default();
        let protobuf = to_protobuf::<Span>(document.as_bytes(), &mut refused).unwrap();
        let request = ExportTraceServiceRequest::decode(&protobuf[..]).unwrap();
        let spans = &request.resource_spans[1].scope_spans[1].spans;
        let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["a", "b"], "{wrong}");
        assert_eq!((refused.items(), refused.reason().is_empty()), (1, false));
    }
}

#[test]
fn one_wrong_data_point_leaves_the_others() {
    for (kind, data) in [
        ("gauge", r#"{"asInt":"x"}"#),
        ("sum", r#"{"asInt":1.5}"#),
        ("histogram", r#"{"bucketCounts":["-1"]}"#),
        ("exponentialHistogram", r#"{"scale":"x"}"#),
        ("summary", r#"{"count":"x"}"#),
    ] {
        let document = format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m","{kind}":{{"dataPoints":[{{}},{data},{{}}]}}}}]}}]}}]}}"#
        );
        let mut refused = RejectedItems::default();
        let protobuf = to_protobuf::<Metric>(document.as_bytes(), &mut refused).unwrap();
        let request = ExportMetricsServiceRequest::decode(&protobuf[..]).unwrap();
        let metric = request.resource_metrics[0].scope_metrics[0].metrics[0].encode_to_vec();
        assert_eq!(crate::otlp::wire::count_data_points(&metric), 2, "{kind}");
        assert_eq!(refused.items(), 1, "{kind}");
    }
}

#[test]
fn items_of_a_resource_or_scope_that_cannot_be_read_are_refused() {
    let wrong = r#"{"attributes":[{"key":"a","value":{"intValue":"x"}}]}"#;
    let document = format!(
        r#"{{"resourceSpans":[{{"resource":{wrong},"scopeSpans":[{{"spans":[{{}},{{}}]}}]}},
        {{"scopeSpans":[{{"scope":{wrong},"spans":[{{}}]}},{{"scope":null,"spans":[{{"name":"kept"}}]}}]}}]}}"#
    );
    let mut refused = RejectedItems::default();
    let protobuf = to_protobuf::<Span>(document.as_bytes(), &mut refused).unwrap();
    let request = ExportTraceServiceRequest::decode(&protobuf[..]).unwrap();
    let scopes: Vec<_> = request
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
        .collect();
    assert_eq!((scopes.len(), scopes[0].name.as_str()), (1, "kept"));
    assert_eq!(refused.items(), 3);
}
