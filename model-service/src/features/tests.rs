//! What the columns of a Feast answer become.

use protocol::feast::OnlineResponse;
use serde_json::json;

use super::*;
use crate::repository::Manifest;

fn manifest() -> Manifest {
    let mut manifest = crate::tests::manifest();
    manifest.features = vec!["a".to_owned(), "b".to_owned()];
    manifest
}

fn answer(value: serde_json::Value) -> OnlineResponse {
    serde_json::from_value(value).unwrap()
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
    let input = input(&manifest(), 5, &answer).unwrap();
    assert_eq!(input.values, [1.0, 2.5]);
    let missing = Some(RowError::MissingFeatures);
    assert_eq!(
        input.failures,
        [
            None,
            Some(RowError::NotFound),
            Some(RowError::OutsideMaxAge),
            missing,
            missing
        ]
    );
    assert_eq!(input.missing, [0, 2]);
    assert!(!input.is_all_unknown());
}

#[test]
fn answers_without_a_whole_column_are_refused() {
    let whole = json!({"values": [1], "statuses": ["PRESENT"]});
    let cases = [
        json!({"metadata": {"feature_names": ["a"]}, "results": [whole]}),
        json!({"metadata": {"feature_names": ["a", "b"]}, "results": [whole, {"values": [], "statuses": []}]}),
        json!({"metadata": {"feature_names": ["a", "b"]}, "results": [whole, {"values": [1], "statuses": []}]}),
        json!({"metadata": {"feature_names": ["a", "b"]}, "results": [whole]}),
    ];
    for case in cases {
        let refused = input(&manifest(), 1, &answer(case));
        assert!(matches!(refused, Err(FeatureError::Column(name)) if name == "b"));
    }
}

#[test]
fn the_request_names_view_and_join_key() {
    let base = "http://store.test:6566/base/".parse().unwrap();
    let store = FeatureStore::new(HttpClient::new().unwrap(), &base, Duration::from_secs(1));
    let request = store.request(&manifest(), &["w1", "w2"]);
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
