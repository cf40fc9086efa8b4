//! One setting is a promise: one false alarm in so many windows. It is held over windows without
//! drift, in which thresholds of textbooks fail, and drift worth an alarm is seen all the same.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::drift::reference::Reference;
use crate::drift::score::Score;
use crate::drift::window::{Observation, Window};
use crate::drift::{Inputs, Outputs, divergence};
use crate::repository::Manifest;
use crate::training::FEATURES;
use crate::training::profile::profile;

const ALCOHOL: usize = 10;
/// As the training of the wine model has them.
const TRAINING_ROWS: usize = 1279;
const VALIDATION_ROWS: usize = 320;
const WINDOW: usize = 200;
/// A row lacks its first feature with this probability, in references and in windows.
const MISSING: f64 = 0.02;

/// The real wines, with all their ties: the truth that references and windows are drawn from.
struct Truth {
    rows: Vec<Vec<f32>>,
    random: ChaCha8Rng,
}

impl Truth {
    fn new(seed: u64) -> Self {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../data/wine_quality/winequality-red.csv"
        );
        let mut reader = csv::Reader::from_path(path).unwrap();
        let rows = reader.records().map(|row| {
            let row = row.unwrap();
            let cells = row.iter().skip(1).take(FEATURES.len());
            cells.map(|cell| cell.parse().unwrap()).collect()
        });
        Self {
            rows: rows.collect(),
            random: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    fn wine(&mut self) -> Vec<f32> {
        let at = self.random.random_range(0..self.rows.len());
        self.rows[at].clone()
    }

    fn lacks_a_value(&mut self) -> bool {
        self.random.random_bool(MISSING)
    }

    /// A class and a confidence, as a model of a good accuracy has them.
    fn prediction(&mut self) -> (usize, f32) {
        let confidence = 0.5 + 0.5 * self.random.random::<f32>().sqrt();
        (usize::from(self.random.random_bool(0.53)), confidence)
    }

    /// A reference of a training on data that were drawn for it.
    fn reference(&mut self, windows_per_false_alarm: u32) -> Reference {
        let training: Vec<_> = (0..TRAINING_ROWS).map(|_| self.wine()).collect();
        let mut manifest: Manifest = crate::tests::manifest();
        manifest.metrics.training_rows = TRAINING_ROWS;
        manifest.metrics.validation_rows = VALIDATION_ROWS;
        let features = FEATURES.iter().enumerate().map(|(at, name)| {
            let column = training.iter().map(|row| f64::from(row[at]));
            let missing = (0..TRAINING_ROWS).filter(|_| at == 0 && self.lacks_a_value());
            let missing = missing.count();
            let mut profile = profile(name, column.skip(missing).collect());
            profile.missing = missing as u64;
            profile
        });
        manifest.reference.features = features.collect();
        let predictions: Vec<_> = (0..VALIDATION_ROWS).map(|_| self.prediction()).collect();
        let confidences = predictions.iter().map(|(_, value)| f64::from(*value));
        manifest.reference.confidence_deciles =
            profile("confidence", confidences.collect()).decile_edges;
        let high = predictions.iter().filter(|(class, _)| *class == 1).count();
        let high = high as f64 / VALIDATION_ROWS as f64;
        manifest.reference.class_shares = vec![1.0 - high, high];
        Reference::new(&manifest, windows_per_false_alarm)
    }

    /// The scores of a window of wines, each changed by `change`; NaN is a missing value.
    fn window(
        &mut self,
        reference: &Reference,
        change: impl Fn(&mut Self, &mut [f32]),
    ) -> Vec<Score> {
        let mut window = Window::default();
        while !window.is_full(WINDOW) {
            let mut row = self.wine();
            if self.lacks_a_value() {
                row[0] = f32::NAN;
            }
            change(self, &mut row);
            let missing: Vec<u64> = row.iter().map(|value| u64::from(value.is_nan())).collect();
            if missing.contains(&1) {
                row.clear();
            }
            let (class, confidence) = self.prediction();
            let outputs = if row.is_empty() {
                Outputs::default()
            } else {
                Outputs {
                    classes: vec![class],
                    values: vec![confidence],
                }
            };
            let inputs = Inputs {
                values: row,
                width: missing.len(),
                missing,
                rows: 1,
            };
            window.push(Observation::new(inputs, outputs));
        }
        window.scores(reference)
    }

    /// In how many of 2,000 windows something drifts.
    fn alarms(&mut self, windows_per_false_alarm: u32) -> usize {
        let mut alarms = 0;
        for _ in 0..100 {
            let reference = self.reference(windows_per_false_alarm);
            for _ in 0..20 {
                let scores = self.window(&reference, |_, _| {});
                alarms += usize::from(scores.iter().any(Score::is_drift));
            }
        }
        alarms
    }
}

#[test]
fn two_thousand_windows_without_drift_have_no_more_false_alarms_than_promised() {
    let alarms = Truth::new(1).alarms(1_000);
    assert!(alarms <= 2, "{alarms} in 2,000 windows, 2 are promised");
}

#[test]
fn a_looser_promise_is_held_and_is_not_empty() {
    // Were the thresholds far too large, the promise would be held by never raising an alarm.
    let alarms = Truth::new(2).alarms(20);
    assert!((5..=100).contains(&alarms), "{alarms}, 100 are promised");
}

#[test]
fn drift_is_seen_in_every_window() {
    let mut truth = Truth::new(3);
    let reference = truth.reference(1_000);
    for _ in 0..50 {
        let shifted = truth.window(&reference, |_, row| row[ALCOHOL] += 1.5);
        let alcohol = shifted.iter().filter(|score| &*score.feature == "alcohol");
        let methods: Vec<_> = alcohol.filter(|score| score.is_drift()).collect();
        assert!(methods.len() >= 2, "{shifted:#?}");
        let gaps = truth.window(&reference, |truth, row| {
            if truth.random.random_bool(0.1) {
                row[ALCOHOL] = f32::NAN;
            }
        });
        let drifted: Vec<_> = gaps.iter().filter(|score| score.is_drift()).collect();
        assert_eq!(drifted.len(), 1, "{drifted:#?}");
        assert_eq!(drifted[0].method.as_str(), "missing_share");
    }
}

/// Why the thresholds are not those of the textbooks.
#[test]
fn the_usual_threshold_is_exceeded_in_nearly_half_of_small_windows_without_drift() {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let mut alarms = 0;
    for _ in 0..1_000 {
        let reference = (0..TRAINING_ROWS).map(|_| random.random::<f64>());
        let reference = profile("uniform", reference.collect());
        let mut shares = vec![0.0; 10];
        for _ in 0..100 {
            let value = random.random::<f64>();
            shares[reference
                .decile_edges
                .partition_point(|edge| *edge <= value)] += 0.01;
        }
        alarms += usize::from(divergence::psi(&reference.decile_shares, &shares) >= 0.1);
    }
    assert!((400..=500).contains(&alarms), "{alarms} of 1,000");
}
