//! Properties of Feast bodies: a round trip returns the same body, and no bytes make the reader
//! panic.

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::feast::{
    Answer, Cell, Columns, ErrorBody, FeatureColumn, OnlineRequest, OnlineResponse, PushRequest,
    ResponseMetadata, Status, ViewMetadata, WriteRequest, number,
};
use serde_json::Value;

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(float),
        any::<String>().prop_map(Value::from),
        vec(any::<i32>(), 0..3).prop_map(Value::from),
    ]
}

fn float(number: f64) -> Value {
    serde_json::to_value(Cell::Float(number)).expect("a cell can be written")
}

fn columns() -> impl Strategy<Value = Columns> {
    proptest::collection::btree_map("[a-z_]{1,8}", vec(value(), 0..4), 0..4)
        .prop_map(|columns| columns.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
        .prop_map(Columns)
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![
        Status::Invalid,
        Status::Present,
        Status::NullValue,
        Status::NotFound,
        Status::OutsideMaxAge,
    ])
}

fn response() -> impl Strategy<Value = OnlineResponse> {
    let column = (
        vec(value(), 0..4),
        vec(status(), 0..4),
        vec("[0-9TZ:-]{0,20}", 0..4),
    )
        .prop_map(|(values, statuses, event_timestamps)| FeatureColumn {
            values,
            statuses,
            event_timestamps,
        });
    let views = vec("[a-z]{1,5}".prop_map(|name| ViewMetadata { name }), 0..2);
    (vec(column, 0..4), vec(any::<String>(), 0..4), views).prop_map(
        |(results, feature_names, feature_view_metadata)| OnlineResponse {
            results,
            metadata: ResponseMetadata {
                feature_names,
                feature_view_metadata,
            },
        },
    )
}

proptest! {
    #[test]
    fn requests_round_trip(
        features in proptest::option::of(vec(any::<String>(), 0..4)),
        service in proptest::option::of(any::<String>()),
        entities in columns(),
        full in any::<bool>(),
        views in any::<bool>(),
    ) {
        let request = OnlineRequest {
            features,
            feature_service: service,
            entities,
            full_feature_names: full,
            include_feature_view_version_metadata: views,
        };
        prop_assert_eq!(request.selection().is_some(), request.features.is_some() != request.feature_service.is_some());
        let back: OnlineRequest = serde_json::from_slice(&serde_json::to_vec(&request).unwrap()).unwrap();
        prop_assert_eq!(back, request);
    }

    #[test]
    fn responses_round_trip(response in response()) {
        let body = serde_json::to_vec(&response).unwrap();
        let back: OnlineResponse = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(&back, &response);
        // A client reads the same, and ragged columns must not make it panic.
        let answer = Answer::decode(&body).unwrap();
        for name in &response.metadata.feature_names {
            let (Some(read), Some(column)) = (answer.column(name), response.column(name)) else {
                continue;
            };
            for row in 0..4 {
                let status = column.statuses.get(row);
                let present = column.values.get(row).filter(|_| status == Some(&Status::Present));
                let bits = |number: f64| if number.is_nan() { None } else { Some(number.to_bits()) };
                prop_assert_eq!(read.number(row).map(bits), present.and_then(number).map(bits));
                prop_assert_eq!(read.text(row), present.and_then(Value::as_str));
            }
        }
    }

    #[test]
    fn every_float_survives(x in any::<f64>()) {
        let text = serde_json::to_string(&Cell::Float(x)).unwrap();
        let back = number(&serde_json::from_str(&text).unwrap()).unwrap();
        prop_assert!(back.to_bits() == x.to_bits() || (back.is_nan() && x.is_nan()), "{x:e} came back as {back:e}");
    }

    #[test]
    fn errors_round_trip(message in any::<String>()) {
        let error = ErrorBody::feast("FeatureViewNotFoundException", message);
        prop_assert_eq!(ErrorBody::decode(error.to_json().as_bytes()), Some(error));
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in vec(any::<u8>(), 0..200)) {
        prop_assert!(serde_json::from_slice::<OnlineRequest>(&body).is_err());
        prop_assert!(serde_json::from_slice::<OnlineResponse>(&body).is_err());
        prop_assert!(Answer::decode(&body).is_err());
        prop_assert!(serde_json::from_slice::<PushRequest>(&body).is_err());
        prop_assert!(serde_json::from_slice::<WriteRequest>(&body).is_err());
        prop_assert!(ErrorBody::decode(&body).is_none());
    }

    #[test]
    fn mutated_requests_never_panic(entities in columns(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let request = OnlineRequest::for_features(["wine_features:alcohol"], entities);
        let mut body = serde_json::to_vec(&request).unwrap();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(back) = serde_json::from_slice::<OnlineRequest>(&body) {
            // A table that can be read has no column twice.
            let mut names: Vec<&String> = back.entities.0.iter().map(|(name, _)| name).collect();
            names.sort();
            prop_assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        }
    }
}
