//! Statistics of variants against figures that were computed by hand.

use std::time::Duration;

use jiff::Timestamp;

use super::latency::Latency;
use super::record::MAX_IDS;
use super::{CallEnd, Statistics, VariantSummary, wilson95};
use crate::store::tests::conformance::prediction;
use crate::store::{Key, StoredPrediction};

fn by(variant: &str, data_id: &str, label: &str, confidence: f32) -> StoredPrediction {
    let old = prediction("m", "1", data_id, 0);
    let key = Key {
        variant: variant.into(),
        ..old.key.clone()
    };
    StoredPrediction {
        key,
        label: label.to_owned(),
        confidence,
        ..old
    }
}

fn statistics() -> Statistics {
    Statistics::new(Timestamp::UNIX_EPOCH)
}

fn record(statistics: &Statistics, predictions: &[StoredPrediction]) {
    statistics.record_predictions("m", predictions.iter());
}

#[test]
fn the_interval_is_wilsons_score_interval() {
    assert_eq!(wilson95(0, 0), None);
    // Computed with 50 decimal digits.
    for (agreed, pairs, low, high) in [
        (0, 10, 0.0, 0.277_532_8),
        (10, 10, 0.722_467_2, 1.0),
        (8, 10, 0.490_162_5, 0.943_317_8),
        (95, 100, 0.888_249_1, 0.978_456_3),
        (1, 1, 0.206_549_3, 1.0),
    ] {
        let [low_found, high_found] = wilson95(agreed, pairs).unwrap();
        assert!(
            (low_found - low).abs() < 5e-5 && (high_found - high).abs() < 5e-5,
            "{agreed}/{pairs}: {low_found} {high_found}"
        );
    }
}

#[test]
fn quantiles_are_within_five_percent() {
    let latency = Latency::default();
    assert_eq!(latency.quantiles([0.5, 0.95]), [None, None]);
    (1..=1_000).for_each(|n| latency.record(Duration::from_micros(n * 100)));
    let [p50, p95, all] = latency.quantiles([0.5, 0.95, 1.0]).map(Option::unwrap);
    for (summary, exact) in [(p50, 0.05), (p95, 0.095), (all, 0.1)] {
        assert!(
            (summary / exact - 1.0).abs() < 0.05,
            "{summary} for {exact}"
        );
    }
    // Any duration is counted.
    let latency = Latency::default();
    for took in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_secs(1_000_000),
    ] {
        latency.record(took);
    }
    let [short, long] = latency.quantiles([0.5, 1.0]).map(Option::unwrap);
    assert!(short <= 50e-6 && long > 90.0, "{short} {long}");
}

#[test]
fn variants_are_compared_on_the_ids_that_both_have_predicted() {
    let statistics = statistics();
    record(
        &statistics,
        &[
            by("a", "1", "high", 0.9),
            by("a", "2", "low", 0.6),
            by("a", "3", "low", 0.6),
        ],
    );
    record(
        &statistics,
        &[
            by("b", "1", "high", 0.8),
            by("b", "2", "high", 0.4),
            by("b", "4", "low", 0.6),
        ],
    );
    // A repeated id, computed or stored, counts once, with its last prediction.
    record(
        &statistics,
        &[by("a", "1", "high", 0.9), by("a", "3", "high", 0.9)],
    );
    let summary = statistics.summary("m", "b", "a");
    assert_eq!(
        (summary.predictions, summary.pairs, summary.agreed),
        (3, 2, 1)
    );
    assert!((summary.confidence_mean.unwrap() - 0.6).abs() < 1e-6);
    let shares: Vec<_> = summary
        .label_shares
        .iter()
        .map(|(label, share)| format!("{label} {share:.3}"))
        .collect();
    assert_eq!(shares, ["high 0.667", "low 0.333"]);
    let summary = statistics.summary("m", "a", "a");
    assert_eq!(
        (
            summary.predictions,
            summary.pairs,
            summary.label_shares["high"]
        ),
        (3, 0, 2.0 / 3.0)
    );
    assert_eq!(
        statistics.summary("m", "nobody", "a"),
        VariantSummary::default()
    );
    assert_eq!(
        statistics.summary("nobody", "a", "a"),
        VariantSummary::default()
    );
    // The reference has predicted nothing yet.
    assert_eq!(statistics.summary("m", "a", "kserve").pairs, 0);
}

#[test]
fn calls_are_counted_by_their_outcome() {
    let statistics = statistics();
    for n in 0..10 {
        statistics.record_call(
            "m",
            "a",
            Duration::from_millis(10),
            if n == 3 {
                CallEnd::Failed
            } else {
                CallEnd::Answered
            },
        );
    }
    statistics.record_call("m", "b", Duration::from_secs(9), CallEnd::Failed);
    statistics.record_call("m", "b", Duration::from_secs(9), CallEnd::Refused);
    let summary = statistics.summary("m", "a", "a");
    assert_eq!((summary.calls, summary.errors), (10, 1));
    assert!((summary.p95.unwrap() / 0.01 - 1.0).abs() < 0.05);
    let summary = statistics.summary("m", "b", "a");
    assert_eq!(
        (summary.calls, summary.errors, summary.p50),
        (2, 1, None),
        "how long a failure took says nothing of the model"
    );
}

#[test]
fn the_record_is_bounded_and_the_oldest_ids_leave_first() {
    let statistics = statistics();
    let all: Vec<_> = (0..MAX_IDS + 10)
        .map(|n| by("a", &n.to_string(), &format!("label-{}", n % 100), 0.5))
        .collect();
    record(&statistics, &all);
    let summary = statistics.summary("m", "a", "a");
    assert_eq!(summary.predictions, MAX_IDS as u64);
    assert_eq!(
        (summary.label_shares.len(), summary.label_shares["(others)"]),
        (65, 0.36)
    );
    record(
        &statistics,
        &[by("b", "0", "label-0", 0.5), by("b", "11", "label-11", 0.5)],
    );
    assert_eq!(
        statistics.summary("m", "b", "a").pairs,
        1,
        "0 has left, 11 has not"
    );
    for n in 0..2_000 {
        statistics.record_call(
            &format!("model-{n}"),
            "a",
            Duration::ZERO,
            CallEnd::Answered,
        );
    }
    assert_eq!(statistics.models.read().len(), 1_000);
}
