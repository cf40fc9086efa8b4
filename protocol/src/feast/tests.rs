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
    let answer = Answer::decode(OBSERVED.as_bytes()).unwrap();
    let column = answer.column("conv_rate").unwrap();
    assert_eq!(
        (column.number(0), column.number(1), column.number(2)),
        (Some(0.0203), None, None)
    );
    assert_eq!(column.statuses, [Status::Present, Status::NotFound]);
    assert!(answer.column("trips").is_none());
    let response: OnlineResponse = serde_json::from_str(OBSERVED).unwrap();
    let again: Value = serde_json::to_value(&response).unwrap();
    assert_eq!(again, serde_json::from_str::<Value>(OBSERVED).unwrap());
}

#[test]
fn reads_the_minimum_that_other_servers_send() {
    let text = r#"{"results":[{"values":["NaN"],"statuses":["PRESENT"]}],"metadata":{"feature_names":["x"]}}"#;
    let answer = Answer::decode(text.as_bytes()).unwrap();
    assert!(answer.column("x").unwrap().number(0).unwrap().is_nan());
    let null = FeatureColumn {
        values: vec![Cell::Int(1)],
        statuses: vec![Status::OutsideMaxAge],
        event_timestamps: Skipped,
    };
    assert_eq!(null.number(0), None, "an old value is no value");
}

#[test]
fn cells_are_read_as_what_they_are_and_borrow_texts_without_escapes() {
    let text = r#"[null,true,-7,18446744073709551615,0.5,"café","a\"b",[1,[{"a":2}]],{"a":[]}]"#;
    let cells: Vec<Cell<'_>> = serde_json::from_str(text).unwrap();
    let expected = [
        Cell::Null,
        Cell::Bool(true),
        Cell::Int(-7),
        Cell::Float(18_446_744_073_709_551_615.0),
        Cell::Float(0.5),
        Cell::Text("café".into()),
        Cell::Text("a\"b".into()),
        Cell::Null,
        Cell::Null,
    ];
    assert_eq!(cells, expected);
    let borrowed = |cell: &Cell<'_>| matches!(cell, Cell::Text(std::borrow::Cow::Borrowed(_)));
    assert!(borrowed(&cells[5]) && !borrowed(&cells[6]));
    let again = serde_json::to_string(&cells[..3]).unwrap();
    assert_eq!(again, "[null,true,-7]");
}

#[test]
fn an_answer_is_refused_for_its_form_and_not_for_its_cells() {
    let nested = format!("{}1e999{}", "[".repeat(200), "]".repeat(200));
    for cell in [
        "1e999",
        r#""\ud800""#,
        "[1e999]",
        &nested,
        r#"{"a":"\udc00"}"#,
    ] {
        let text = format!(
            r#"{{"results":[{{"values":[{cell},2],"statuses":["PRESENT","PRESENT"],"event_timestamps":[{cell},null]}}],
               "metadata":{{"feature_names":["x"]}},"status":{cell}}}"#
        );
        let answer =
            Answer::decode(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        let column = answer.column("x").unwrap();
        assert_eq!((column.number(0), column.number(1)), (None, Some(2.0)));
    }
    for text in [
        r#"{"results":[{"values":null,"statuses":[]}],"metadata":{"feature_names":[]}}"#,
        r#"{"results":[{"values":[]}],"metadata":{"feature_names":[]}}"#,
        r#"{"results":[{"values":[],"statuses":[],"event_timestamps":null}],"metadata":{"feature_names":[]}}"#,
        r#"{"results":[],"metadata":{"feature_names":[1]}}"#,
        r#"{"results":[],"metadata":{"feature_names":["\ud800"]}}"#,
        r#"{"results":[]}"#,
        r#"{"results":[],"metadata":{"feature_names":[]}} x"#,
        "[]",
    ] {
        assert!(Answer::decode(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn an_answer_is_utf8_where_it_is_known() {
    for (text, accepted) in [
        (
            r#"{"results":[{"values":["X"],"statuses":[]}],"metadata":{"feature_names":[]}}"#,
            false,
        ),
        (
            r#"{"results":[{"values":[["X"]],"statuses":[]}],"metadata":{"feature_names":[]}}"#,
            false,
        ),
        (
            r#"{"results":[{"values":[],"statuses":[],"event_timestamps":["X"]}],"metadata":{"feature_names":[]}}"#,
            false,
        ),
        (
            r#"{"results":[],"metadata":{"feature_names":[]},"other":"X"}"#,
            true,
        ),
    ] {
        let mut body = text.as_bytes().to_vec();
        let at = body.iter().position(|byte| *byte == b'X').unwrap();
        body[at] = 0xff;
        assert_eq!(Answer::decode(&body).is_ok(), accepted, "{text}");
    }
}

#[test]
fn requests_are_written_from_borrowed_parts() {
    let features = ["a", "b\"c"].map(|feature| Reference { view: "v", feature });
    let ids = ["w1", "w2"];
    let request =
        OnlineRequest::for_features(List(features.iter()), Columns(vec![("id", &ids[..])]));
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(
        text,
        r#"{"features":["v:a","v:b\"c"],"entities":{"id":["w1","w2"]}}"#
    );
    let read: OnlineRequest<Vec<Text<'_>>> = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> = read.features.iter().flatten().map(AsRef::as_ref).collect();
    assert_eq!(names, ["v:a", "v:b\"c"]);
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
    let json_of = |number| serde_json::to_value(Cell::Float(number)).unwrap();
    assert_eq!(json_of(0.076), json!(0.076));
    assert_eq!(json_of(f64::NAN), "NaN");
    assert_eq!(json_of(f64::INFINITY), "Infinity");
    assert_eq!(json_of(f64::NEG_INFINITY), "-Infinity");
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
