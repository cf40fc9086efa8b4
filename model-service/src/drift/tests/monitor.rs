//! The monitor as the predictor uses it: windows end, drift begins and ends, nothing waits.

use std::sync::Arc;

use harness::wait_until;

use crate::drift::score::Score;
use crate::drift::version::Version;
use crate::drift::window::Observation;
use crate::drift::{Drift, DriftMonitor, DriftOptions, Inputs, Outputs};
use crate::model::{Batch, ComputeError, Model, Probabilities};
use crate::repository::{Loaded, Manifest, Regression};
use crate::training::FEATURES;
use crate::training::profile::profile;

const WINDOW: usize = 200;
const WIDTH: usize = FEATURES.len();

struct Unused;

impl Model for Unused {
    fn probabilities(&self, _: &Batch) -> Result<Probabilities, ComputeError> {
        Err(ComputeError::Input)
    }
}

fn loaded() -> Arc<Loaded> {
    let mut manifest = crate::tests::manifest();
    manifest.metrics.training_rows = 1_000;
    manifest.metrics.validation_rows = 1_000;
    let numbers = || (0..1_000).map(f64::from).collect();
    manifest.reference.features = FEATURES
        .iter()
        .map(|name| profile(name, numbers()))
        .collect();
    let confidences = (0..1_000).map(|step| 0.5 + f64::from(step) / 2_000.0);
    manifest.reference.confidence_deciles = profile("", confidences.collect()).decile_edges;
    Arc::new(Loaded::new(manifest, Arc::new(Unused), None))
}

fn options() -> DriftOptions {
    DriftOptions {
        window: WINDOW,
        windows_per_false_alarm: 1_000,
        variant: "primary".to_owned(),
    }
}

fn monitor() -> DriftMonitor {
    DriftMonitor::start(options()).unwrap()
}

/// A request of `rows` rows, and its answer. With 1 as `power` it is like the reference; a larger one
/// moves values and confidences down within their range.
fn request(rows: usize, power: f32) -> (Inputs, Outputs) {
    let at = |row: usize| (row as f32 / rows as f32).powf(power);
    let inputs = Inputs {
        values: (0..rows)
            .flat_map(|row| vec![at(row) * 999.0; WIDTH])
            .collect(),
        missing: Vec::new(),
        width: WIDTH,
        rows,
    };
    let outputs = Outputs {
        classes: (0..rows).map(|row| row % 2).collect(),
        values: (0..rows).map(|row| 0.5 + at(row) / 2.0).collect(),
    };
    (inputs, outputs)
}

fn observe(monitor: &DriftMonitor, loaded: &Arc<Loaded>, rows: usize, power: f32) {
    let (inputs, outputs) = request(rows, power);
    monitor.observe(loaded, inputs, outputs);
}

fn number(drift: &Drift) -> u64 {
    drift.window.as_ref().map_or(0, |window| window.number)
}

fn after(monitor: &DriftMonitor, loaded: &Loaded, windows: u64) -> Drift {
    let drift = || monitor.drift(loaded);
    wait_until("a window ends", || number(&drift()) == windows);
    drift()
}

#[test]
fn a_window_ends_with_the_request_that_fills_it() {
    let (monitor, loaded) = (monitor(), loaded());
    observe(&monitor, &loaded, WINDOW - 1, 1.0);
    observe(&monitor, &loaded, 50, 1.0);
    observe(&monitor, &loaded, 3, 1.0);
    let drift = after(&monitor, &loaded, 1);
    assert_eq!(drift.window.unwrap().rows, WINDOW + 49);
    wait_until("three rows wait", || {
        monitor.drift(&loaded).waiting_rows == 3
    });
}

/// The version after one more window, and its largest score in units of the threshold.
fn one_more(version: &mut Version, power: f32) -> (bool, f64) {
    let loaded = loaded();
    let (inputs, outputs) = request(WINDOW, power);
    let observation = Observation::new(inputs, outputs);
    version.push(observation, &loaded.manifest, &options());
    let drift = version.drift();
    let scores = drift.window.unwrap().scores;
    let excess = scores.iter().map(Score::excess).fold(0.0, f64::max);
    (drift.since.is_some(), excess)
}

#[test]
fn drift_begins_and_ends_without_flutter() {
    let manifest = &loaded().manifest;
    let fresh = || Version::new(manifest, &options());
    let mut powers = (100..300).map(|hundredths| hundredths as f32 / 100.0);
    let near = powers.find(|power| one_more(&mut fresh(), *power).1 > 0.85);
    let near = near.unwrap();
    let mut version = fresh();
    let (drifts, excess) = one_more(&mut version, near);
    assert!(!drifts && excess < 1.0, "{excess} alone is no drift");
    assert!(one_more(&mut version, 4.0).0);
    assert!(one_more(&mut version, near).0, "it is not over yet");
    assert!(!one_more(&mut version, 1.0).0);
    assert!(!one_more(&mut version, near).0);
}

/// A regression whose predictions for the validation part were 0 to 999.
fn regression() -> Arc<Loaded> {
    let mut manifest = Manifest {
        classes: Vec::new(),
        regression: Some(Regression {
            target: "price".to_owned(),
            mean: 500.0,
            std: 300.0,
        }),
        ..loaded().manifest.clone()
    };
    manifest.reference.class_shares = Vec::new();
    manifest.reference.confidence_deciles = Vec::new();
    let numbers = (0..1_000).map(f64::from).collect();
    manifest.reference.values = Some(profile("value", numbers));
    Arc::new(Loaded::new(manifest, Arc::new(Unused), None))
}

#[test]
fn the_numbers_of_a_regression_are_compared_with_those_of_the_validation() {
    let (monitor, loaded) = (monitor(), regression());
    let predict = |shift: f32| {
        let (inputs, like_training) = request(WINDOW, 1.0);
        let numbers = like_training.values.iter();
        let outputs = Outputs {
            classes: Vec::new(),
            // From 0.5 to 1, back to 0 to 999.
            values: numbers.map(|at| (at - 0.5) * 1_998.0 + shift).collect(),
        };
        monitor.observe(&loaded, inputs, outputs);
    };
    predict(0.0);
    let calm = after(&monitor, &loaded, 1);
    assert!(calm.since.is_none(), "{calm:?}");
    predict(400.0);
    let drift = after(&monitor, &loaded, 2);
    assert!(drift.since.is_some(), "{drift:?}");
    let scores = drift.window.unwrap().scores;
    let drifted: Vec<_> = scores
        .iter()
        .filter(|score| score.is_drift())
        .map(|score| (&*score.feature, score.method.as_str()))
        .collect();
    let methods = ["psi", "ks_d", "out_of_range_share"];
    assert_eq!(drifted, methods.map(|method| ("ml.output.value", method)));
    assert!(
        scores
            .iter()
            .all(|score| &*score.feature != "ml.output.confidence")
    );
}

#[test]
fn an_answer_does_not_wait_and_what_has_no_room_is_left_out() {
    let (monitor, loaded) = (monitor(), loaded());
    // As while a window is scored or read: the thread stops at this lock.
    let busy = monitor.shared.versions.lock();
    for _ in 0..100 {
        observe(&monitor, &loaded, 1_000, 1.0);
    }
    drop(busy);
    let windows = || number(&monitor.drift(&loaded));
    wait_until("what had room is scored", || windows() >= 16);
    let windows = windows();
    assert!(
        windows < 100,
        "{windows} windows of 1,000 rows had room for 16,384"
    );
}

#[test]
fn a_version_that_was_trained_again_starts_anew() {
    let (monitor, first) = (monitor(), loaded());
    observe(&monitor, &first, WINDOW, 4.0);
    after(&monitor, &first, 1);
    wait_until("it is marked", || monitor.is_drifting(&first.manifest));
    let manifest = Manifest {
        run_id: "f".repeat(32),
        ..first.manifest.clone()
    };
    let second = Arc::new(Loaded::new(manifest, Arc::new(Unused), None));
    assert!(monitor.is_drifting(&first.manifest));
    assert!(monitor.drift(&second).window.is_none());
    observe(&monitor, &second, WINDOW, 1.0);
    assert!(after(&monitor, &second, 1).since.is_none());
    assert!(monitor.drift(&first).window.is_none());
    wait_until("the first is forgotten", || {
        !monitor.is_drifting(&first.manifest)
    });
    assert!(!monitor.is_drifting(&second.manifest));
}
