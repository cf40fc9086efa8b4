//! Windows of feedback against figures that were computed by hand.

use jiff::Timestamp;

use super::recent::MAX_IDS;
use super::{MAX_SCORES, MAX_VERSIONS, Outcome, Quality, Recorded, VersionSummary};
use crate::store::StoredPrediction;
use crate::store::tests::conformance::prediction;

const RIGHT: Outcome = Outcome::Class {
    correct: true,
    confidence: 0.75,
};
const WRONG: Outcome = Outcome::Class {
    correct: false,
    confidence: 0.5,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn of(data_id: &str) -> StoredPrediction {
    prediction("m", "1", data_id, 0)
}

fn record(quality: &Quality, data_id: &str, outcome: Outcome) -> Recorded {
    quality.record_outcome(&of(data_id), outcome, at(1))
}

fn only(quality: &Quality) -> VersionSummary {
    let mut versions = quality.of_model("m");
    assert_eq!(versions.len(), 1);
    versions.remove(0)
}

#[test]
fn a_window_ends_with_its_rows_and_the_next_one_begins_empty() {
    let quality = Quality::new(4);
    for ((id, outcome), second) in [
        ("1", RIGHT),
        ("2", WRONG),
        ("3", RIGHT),
        ("4", RIGHT),
        ("5", WRONG),
    ]
    .into_iter()
    .zip(0..)
    {
        let recorded = quality.record_outcome(&of(id), outcome, at(second));
        assert_eq!(recorded, Recorded::Counted);
    }
    let version = only(&quality);
    let last = version.last.unwrap();
    assert_eq!((last.number, last.sums.rows, last.sums.correct), (1, 4, 3));
    assert_eq!(last.sums.accuracy(), Some(0.75));
    assert_eq!(last.sums.estimated_accuracy(), Some(0.6875));
    assert_eq!((last.first_at, last.last_at), (at(0), at(3)));
    let filling = version.filling.unwrap();
    assert_eq!(
        (filling.number, filling.sums.rows, filling.sums.correct),
        (2, 1, 0)
    );
    assert_eq!((version.all.rows, version.all.correct), (5, 3));
    let run = of("1").run_id;
    assert_eq!(
        (version.run_id, version.all.mean_absolute_error()),
        (run, None)
    );
}

#[test]
fn feedback_about_the_same_prediction_replaces_the_earlier_one_in_its_window() {
    let quality = Quality::new(2);
    record(&quality, "1", RIGHT);
    assert_eq!(record(&quality, "1", RIGHT), Recorded::Replaced);
    assert_eq!(only(&quality).filling.unwrap().sums.rows, 1);
    record(&quality, "2", RIGHT);
    record(&quality, "3", RIGHT);
    // In the window that has ended, and not in the one that fills.
    assert_eq!(record(&quality, "1", WRONG), Recorded::Replaced);
    let version = only(&quality);
    let (last, filling) = (version.last.unwrap(), version.filling.unwrap());
    assert_eq!(last.sums.accuracy(), Some(0.5));
    assert_eq!(last.sums.estimated_accuracy(), Some(0.625));
    assert_eq!((filling.sums.rows, filling.sums.correct), (1, 1));
    // In a window that is not kept any more, only the sum of all changes.
    record(&quality, "4", RIGHT);
    record(&quality, "2", WRONG);
    let version = only(&quality);
    assert_eq!(version.last.unwrap().sums.correct, 2);
    assert_eq!((version.all.rows, version.all.correct), (4, 2));
}

#[test]
fn variants_and_versions_are_apart() {
    let quality = Quality::new(4);
    for version in ["1", "2"] {
        quality.record_outcome(&prediction("m", version, "1", 0), RIGHT, at(1));
    }
    let mut canary = of("1");
    canary.key.variant = "canary".into();
    quality.record_outcome(&canary, WRONG, at(1));
    quality.record_outcome(&prediction("other", "1", "1", 0), RIGHT, at(1));
    let names: Vec<_> = quality
        .of_model("m")
        .into_iter()
        .map(|version| (version.variant, version.version, version.all.correct))
        .collect();
    let expected = [("canary", "1", 0), ("primary", "1", 1), ("primary", "2", 1)];
    assert_eq!(
        names,
        expected.map(|(variant, version, correct)| (
            variant.to_owned(),
            version.to_owned(),
            correct
        ))
    );
}

#[test]
fn numbers_have_an_error_and_no_accuracy() {
    let quality = Quality::new(4);
    for (id, absolute_error) in [("1", 0.5), ("2", 1.5)] {
        record(&quality, id, Outcome::Number { absolute_error });
    }
    let sums = only(&quality).all;
    assert_eq!(sums.mean_absolute_error(), Some(1.0));
    assert_eq!((sums.accuracy(), sums.estimated_accuracy()), (None, None));
}

#[test]
fn scores_keep_their_names_and_are_replaced_by_name() {
    let quality = Quality::new(4);
    let score = |id: &str, name: &str, value| quality.record_score(&of(id), name, value, at(1));
    score("1", "llm_ground_truth_score", 0.2);
    score("2", "llm_ground_truth_score", 0.5);
    score("1", "helpful", 1.0);
    assert_eq!(
        score("1", "llm_ground_truth_score", 1.0),
        Recorded::Replaced
    );
    let version = only(&quality);
    let sums = version.scores["llm_ground_truth_score"];
    assert_eq!((sums.count, sums.sum), (2, 1.5));
    assert_eq!(version.scores["helpful"].count, 1);
    assert_eq!((version.all.rows, version.filling), (0, None), "no outcome");
    for number in 0..MAX_SCORES + 5 {
        score("1", &format!("score-{number}"), 0.5);
    }
    assert_eq!(only(&quality).scores.len(), MAX_SCORES);
}

#[test]
fn everything_is_bounded() {
    let quality = Quality::new(1_000);
    for number in 0..=MAX_IDS {
        record(&quality, &number.to_string(), RIGHT);
    }
    assert_eq!(record(&quality, "1", RIGHT), Recorded::Replaced);
    assert_eq!(record(&quality, "0", RIGHT), Recorded::Counted, "forgotten");
    for number in (0..).take(MAX_VERSIONS) {
        let version = prediction("m", &format!("v{number}"), "1", 0);
        quality.record_outcome(&version, RIGHT, at(10 + number));
    }
    let versions = quality.of_model("m");
    assert_eq!(versions.len(), MAX_VERSIONS);
    assert!(versions.iter().all(|version| version.version != "1"));
}
