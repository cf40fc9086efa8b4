//! Bodies of the real `feast serve` and its clients.

use serde_json::{Value, json};

use super::*;

#[test]
fn reads_requests_of_both_generations_of_clients() {
    let old: OnlineRequest =
        serde_json::from_str(r#"{"features":["driver:trips"],"entities":{"driver_id":[1001]}}"#)
            .unwrap();
    assert_eq!(
        old.selection(),
        Some(Selection::Features(&["driver:trips".to_owned()]))
    );
    assert!(!old.full_feature_names && !old.include_feature_view_version_metadata);
    let new: OnlineRequest = serde_json::from_str(
        r#"{"feature_service":"svc","features":null,"entities":{"b":["x","y"],"a":[1,2]},"full_feature_names":true,
            "include_feature_view_version_metadata":true,"registry":"ignored"}"#,
    )
    .unwrap();
    assert_eq!(new.selection(), Some(Selection::Service("svc")));
    assert!(new.full_feature_names && new.include_feature_view_version_metadata);
    let names: Vec<&str> = new
        .entities
        .0
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["b", "a"], "the order of the body is kept");
    assert_eq!(new.entities.rows(), Ok(2));
    let both: OnlineRequest =
        serde_json::from_str(r#"{"features":[],"feature_service":"s","entities":{}}"#).unwrap();
    assert_eq!(both.selection(), None);
}

#[test]
fn refuses_malformed_tables() {
    for wrong in [r#"{"a":1}"#, r#"{"a":[1],"a":[2]}"#, "[]", r#"{"a":null}"#] {
        assert!(serde_json::from_str::<Columns>(wrong).is_err(), "{wrong}");
    }
    let ragged: Columns = serde_json::from_str(r#"{"a":[1],"b":[1,2]}"#).unwrap();
    assert_eq!(ragged.rows(), Err("b"));
    assert_eq!(ragged.get("b"), Some(&[json!(1), json!(2)][..]));
    let names = (0..100).chain([99]).map(|at| format!(r#""c{at}":[]"#));
    let many = names.collect::<Vec<_>>().join(",");
    let error = serde_json::from_str::<Columns>(&format!("{{{many}}}")).unwrap_err();
    assert!(
        error.to_string().starts_with("column `c99` is given twice"),
        "{error}"
    );
}

/// An answer of Feast 0.67.0.
const OBSERVED: &str = r#"{"results":[
 {"values":[1001,9999],"statuses":["PRESENT","PRESENT"],"event_timestamps":["1970-01-01T00:00:00Z","1970-01-01T00:00:00Z"]},
 {"values":[0.0203,null],"statuses":["PRESENT","NOT_FOUND"],"event_timestamps":["2026-06-01T10:00:00Z","1970-01-01T00:00:00Z"]}],
 "metadata":{"feature_names":["driver_id","conv_rate"]}}"#;

#[test]
fn reads_and_writes_the_observed_answer() {
    let response: OnlineResponse = serde_json::from_str(OBSERVED).unwrap();
    let column = response.column("conv_rate").unwrap();
    assert_eq!(
        (column.number(0), column.number(1), column.number(2)),
        (Some(0.0203), None, None)
    );
    assert_eq!(column.statuses, [Status::Present, Status::NotFound]);
    assert!(response.column("trips").is_none());
    let again: Value = serde_json::to_value(&response).unwrap();
    assert_eq!(again, serde_json::from_str::<Value>(OBSERVED).unwrap());
}

#[test]
fn reads_the_minimum_that_other_servers_send() {
    let text = r#"{"results":[{"values":["NaN"],"statuses":["PRESENT"]}],"metadata":{"feature_names":["x"]}}"#;
    let response: OnlineResponse = serde_json::from_str(text).unwrap();
    assert!(response.column("x").unwrap().number(0).unwrap().is_nan());
    let null = FeatureColumn {
        values: vec![json!(1)],
        statuses: vec![Status::OutsideMaxAge],
        event_timestamps: vec![],
    };
    assert_eq!(null.number(0), None, "an old value is no value");
}

#[test]
fn statuses_have_one_name() {
    for status in [
        Status::Invalid,
        Status::Present,
        Status::NullValue,
        Status::NotFound,
        Status::OutsideMaxAge,
    ] {
        assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
    }
}

#[test]
fn floats_that_are_not_finite_are_strings() {
    assert_eq!(value_of(0.076), json!(0.076));
    assert_eq!(value_of(f64::NAN), "NaN");
    assert_eq!(value_of(f64::INFINITY), "Infinity");
    assert_eq!(value_of(f64::NEG_INFINITY), "-Infinity");
    assert_eq!(number(&json!("-Infinity")), Some(f64::NEG_INFINITY));
    assert_eq!(number(&json!(7)), Some(7.0));
    assert_eq!((number(&json!("7")), number(&Value::Null)), (None, None));
}

#[test]
fn reads_pushes() {
    let push: PushRequest = serde_json::from_str(
        r#"{"push_source_name":"s","df":{"id":[1],"event_timestamp":["2026-01-01"]}}"#,
    )
    .unwrap();
    assert_eq!(
        (push.to, push.allow_registry_cache, push.transform_on_write),
        (PushTarget::Online, true, true)
    );
    let both =
        r#"{"push_source_name":"s","df":{},"to":"online_and_offline","transform_on_write":false}"#;
    let push: PushRequest = serde_json::from_str(both).unwrap();
    assert_eq!(
        (push.to, push.transform_on_write),
        (PushTarget::OnlineAndOffline, false)
    );
    assert!(
        serde_json::from_str::<PushRequest>(r#"{"push_source_name":"s","df":{},"to":"nowhere"}"#)
            .is_err()
    );
    let write: WriteRequest =
        serde_json::from_str(r#"{"feature_view_name":"v","df":{"a":[null]}}"#).unwrap();
    assert_eq!(write.df.get("a"), Some(&[Value::Null][..]));
}

#[test]
fn errors_are_json_in_a_json_string() {
    let error = ErrorBody::feast("FeatureViewNotFoundException", r#"no view "a\b""#);
    let expected = r#""{\"module\": \"feast.errors\", \"class\": \"FeatureViewNotFoundException\", \"message\": \"no view \\\"a\\\\b\\\"\"}""#;
    assert_eq!(error.to_json(), expected);
    assert_eq!(ErrorBody::decode(expected.as_bytes()), Some(error));
    assert_eq!(ErrorBody::decode(b"<html>"), None);
    assert_eq!(ErrorBody::decode(br#""plain""#), None);
    let validation = ValidationBody::new("missing", &["entities"], "Field required");
    assert_eq!(
        validation.to_json(),
        r#"{"detail":[{"type":"missing","loc":["body","entities"],"msg":"Field required"}]}"#
    );
}
