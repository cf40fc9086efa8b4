//! From the columns of a Feast answer to rows.

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::repository::Manifest;

fn manifest() -> Manifest {
    let mut manifest = crate::tests::manifest();
    manifest.features = vec!["a".to_owned(), "b".to_owned()];
    manifest
}

fn answer(value: Value) -> Answer<'static> {
    Answer::deserialize(value).unwrap()
}

#[test]
fn features_are_found_by_name_and_rows_by_status() {
    let answer = answer(json!({
        "metadata": {"feature_names": ["wine_id", "b", "a"]},
        "results": [
            {"values": ["w1", "w2", "w3", "w4", "w5"], "statuses": ["PRESENT", "PRESENT", "PRESENT", "PRESENT", "PRESENT"]},
            {"values": [2.5, null, 3, null, "NaN"], "statuses": ["PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE", "NULL_VALUE", "PRESENT"]},
            {"values": [1, null, 4, 5, 6], "statuses": ["PRESENT", "NOT_FOUND", "PRESENT", "PRESENT", "PRESENT"]},
        ]
    }));
    let rows = rows(&manifest(), 5, &answer).unwrap();
    assert_eq!(rows.values, [1.0, 2.5]);
    let missing = Some(RowErrorCode::MissingFeatures);
    assert_eq!(
        rows.errors,
        [
            None,
            Some(RowErrorCode::UnknownEntity),
            Some(RowErrorCode::OutsideMaxAge),
            missing,
            missing
        ]
    );
    assert_eq!(rows.missing, [0, 2]);
    assert!(!rows.is_all_unknown());
}

#[test]
fn answers_with_an_incomplete_column_are_refused() {
    let complete = json!({"values": [1], "statuses": ["PRESENT"]});
    let cases = [
        json!({"metadata": {"feature_names": ["a"]}, "results": [complete]}),
        json!({"metadata": {"feature_names": ["a", "b"]}, "results": [complete, {"values": [], "statuses": []}]}),
        json!({"metadata": {"feature_names": ["a", "b"]}, "results": [complete, {"values": [1], "statuses": []}]}),
        json!({"metadata": {"feature_names": ["a", "b"]}, "results": [complete]}),
    ];
    for case in cases {
        let refused = rows(&manifest(), 1, &answer(case));
        assert!(matches!(refused, Err(FeatureError::Column(name)) if name == "b"));
    }
}

#[test]
fn the_request_names_view_and_join_key() {
    let base = "http://store.test:6566/base/".parse().unwrap();
    let store = FeatureStore::new(HttpClient::new().unwrap(), &base, Duration::from_secs(1));
    let request = store.request(
        &manifest(),
        manifest().lookup.as_ref().unwrap(),
        &["w1", "w2"],
    );
    assert_eq!(
        request.uri(),
        "http://store.test:6566/base/get-online-features"
    );
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(
        body["features"],
        json!(["wine_features:a", "wine_features:b"])
    );
    assert_eq!(body["entities"], json!({"wine_id": ["w1", "w2"]}));
}

#[test]
fn a_cell_that_cannot_be_read_fails_its_row_only() {
    for cell in ["1e400", "-1e999", &"9".repeat(400), r#""\ud800""#] {
        let body = format!(
            r#"{{"metadata":{{"feature_names":["a","b"]}},"results":[
                {{"values":[1,{cell},3],"statuses":["PRESENT","PRESENT","PRESENT"]}},
                {{"values":[2,2,4],"statuses":["PRESENT","PRESENT","PRESENT"]}}]}}"#
        );
        let answer = Answer::decode(body.as_bytes()).unwrap();
        let rows = rows(&manifest(), 3, &answer).unwrap();
        assert_eq!(rows.values, [1.0, 2.0, 3.0, 4.0], "{cell}");
        let missing = Some(RowErrorCode::MissingFeatures);
        assert_eq!(rows.errors, [None, missing, None], "{cell}");
    }
    let body = br#"{"metadata":{"feature_names":["a","b"]},"results":[
        {"values":[1,2],"statuses":["PRESENT","A_NEW_STATUS"]},
        {"values":[2,3],"statuses":["PRESENT","PRESENT"],"event_timestamps":[null,null]}]}"#;
    let answer = Answer::decode(body).unwrap();
    let rows = rows(&manifest(), 2, &answer).unwrap();
    assert_eq!(rows.errors, [None, Some(RowErrorCode::MissingFeatures)]);
}
