//! The error codes of the Python worker are those of this crate's enums.

use std::collections::BTreeSet;
use std::path::Path;

use protocol::{ErrorCode, RowErrorCode};

/// Codes that only the gateway answers with.
const GATEWAY_ONLY: &[ErrorCode] = &[
    ErrorCode::InvalidRequest,
    ErrorCode::Unauthenticated,
    ErrorCode::RateLimited,
    ErrorCode::UnknownVariant,
    ErrorCode::OutsideMaxAge,
    ErrorCode::MissingFeatures,
    ErrorCode::OutOfRange,
    ErrorCode::UnknownCategory,
    ErrorCode::EmptyText,
    ErrorCode::TextTooLong,
    ErrorCode::InvalidText,
    ErrorCode::UnknownWords,
    ErrorCode::NotCached,
    ErrorCode::TextNotStored,
    ErrorCode::PredictionNotStored,
    ErrorCode::UnknownTrace,
    ErrorCode::AmbiguousTrace,
    ErrorCode::UnknownLabel,
    ErrorCode::WrongTruth,
    ErrorCode::PredictionFailed,
    ErrorCode::NoneSucceeded,
    ErrorCode::StoreUnavailable,
    ErrorCode::ModelUnavailable,
    ErrorCode::DriftNotMeasured,
    ErrorCode::ModelTimeout,
    ErrorCode::ModelBusy,
    ErrorCode::ModelFailed,
    ErrorCode::ModelRefused,
];

/// The words of a class in the worker's `error_codes.py`, whose members are lines `NAME = "word"`.
fn python_words(class: &str) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../model-service/python/src/throughline_worker/error_codes.py");
    let source = std::fs::read_to_string(file).expect("the worker's codes");
    let (_, body) = source
        .split_once(&format!("class {class}("))
        .expect("a class of this name");
    let body = body.split("\nclass ").next().unwrap_or_default();
    let members = body.lines().filter_map(|line| {
        let (name, word) = line.trim().split_once(" = \"")?;
        let word = word.strip_suffix('"')?;
        assert_eq!(name, word.to_uppercase(), "a member is named as its word");
        Some(word.to_owned())
    });
    members.collect()
}

#[test]
fn both_languages_answer_with_the_same_codes() {
    let mut words = python_words("ErrorCode");
    for code in GATEWAY_ONLY {
        assert!(words.insert(code.to_string()), "the worker has {code}, too");
    }
    assert_eq!(
        words,
        ErrorCode::ALL.iter().map(ToString::to_string).collect()
    );
}

#[test]
fn both_languages_have_the_same_row_codes() {
    let all = RowErrorCode::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(python_words("RowErrorCode"), all);
}

#[test]
fn every_code_has_a_word_of_its_own() {
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
    }
    for code in RowErrorCode::ALL {
        assert_eq!(RowErrorCode::parse(code.as_str()), Some(*code));
        assert_eq!(ErrorCode::from(*code).as_str(), code.as_str());
    }
    assert_eq!(ErrorCode::parse("of a later release"), None);
}
