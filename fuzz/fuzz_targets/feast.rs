//! Feast bodies: every type is read from the same bytes, and what is accepted comes back unchanged.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use protocol::feast::{
    Answer, Cell, Columns, ErrorBody, OnlineRequest, OnlineResponse, PushRequest, Status,
    ValidationBody, WriteRequest,
};
use serde::{Serialize, de::DeserializeOwned};

fuzz_target!(|body: &[u8]| {
    if let Some(request) = round_trip::<OnlineRequest>(body) {
        check_columns(&request.entities);
        assert_eq!(
            request.selection().is_some(),
            request.features.is_some() != request.feature_service.is_some()
        );
    }
    if let Some(request) = round_trip::<PushRequest>(body) {
        check_columns(&request.df);
    }
    if let Some(request) = round_trip::<WriteRequest>(body) {
        check_columns(&request.df);
    }
    let response = round_trip::<OnlineResponse>(body);
    match Answer::decode(body) {
        Ok(answer) => check_answer(&answer),
        Err(error) => assert!(response.is_none(), "{error}"),
    }
    round_trip::<ValidationBody>(body);
    if let Some(error) = ErrorBody::decode(body) {
        assert_eq!(ErrorBody::decode(error.to_json().as_bytes()), Some(error));
    }
});

/// Reads a body as the services do; what is accepted can be written, and reads as the same value.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) -> Option<T> {
    let value: T = protocol::object(body).ok()?;
    let written = serde_json::to_vec(&value).expect("an accepted body can be written");
    let back: T = protocol::object(&written).expect("a written body can be read");
    assert_eq!(back, value);
    Some(value)
}

/// No column is given twice, and the number of rows is that of every column.
fn check_columns(columns: &Columns) {
    let mut names: Vec<_> = columns.0.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    assert!(names.array_windows().all(|[left, right]| left != right));
    match columns.rows() {
        Ok(rows) => assert!(columns.0.iter().all(|(_, values)| values.len() == rows)),
        Err(name) => assert!(columns.get(name).is_some()),
    }
}

/// Ragged columns are read without a panic, and only present values are numbers.
fn check_answer(answer: &Answer<'_>) {
    for name in &answer.metadata.feature_names {
        let Some(column) = answer.column(name.as_ref()) else {
            continue;
        };
        for row in 0..=column.values.len() {
            let Some(value) = column.number(row) else {
                continue;
            };
            assert_eq!(column.statuses[row], Status::Present);
            let text = serde_json::to_string(&Cell::Float(value)).expect("a cell can be written");
            let back: Cell<'_> = serde_json::from_str(&text).expect("a number has a JSON form");
            let back = back.number().expect("a number has a JSON form");
            assert!(back.to_bits() == value.to_bits() || (back.is_nan() && value.is_nan()));
        }
    }
}
