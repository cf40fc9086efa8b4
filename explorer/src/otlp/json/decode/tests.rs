//! Literal OTLP/JSON documents, as real senders write them.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use super::decode;
use crate::attribute::plain_map;

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
