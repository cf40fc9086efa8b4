//! The predictions of a calibrated version.

use super::BatchPrediction;
use crate::model::Probabilities;
use crate::repository::{Calibration, Manifest};
use crate::tests::manifest;

const ROWS: [[f32; 2]; 3] = [[0.9, 0.1], [0.4, 0.6], [0.499_999_97, 0.5]];

fn predicted(calibration: Option<Calibration>) -> BatchPrediction {
    let manifest = Manifest {
        calibration,
        ..manifest()
    };
    let logits = ROWS.as_flattened().iter().map(|p| p.ln()).collect();
    let probabilities = Probabilities::from_logits(logits, 2);
    BatchPrediction::collect(vec![None; 3], &probabilities, &manifest)
}

#[test]
fn a_calibration_changes_the_confidence_and_no_class() {
    let plain = predicted(None);
    let warm = predicted(Some(Calibration {
        temperature: 2.0,
        rows: 100,
        error_before: 0.1,
        error_after: 0.01,
    }));
    assert_eq!(plain.classes, [Some(0), Some(1), Some(1)]);
    assert_eq!(warm.classes, plain.classes);
    // The root of 9 to 1 is 3 to 1.
    let expected = [0.75, 0.25];
    for (value, expected) in warm.probabilities.iter().zip(expected) {
        assert!((value - expected).abs() < 1e-6, "{:?}", warm.probabilities);
    }
    for (row, confidence) in warm.probabilities.chunks(2).zip(&warm.confidences) {
        assert!((row[0] + row[1] - 1.0).abs() < 1e-6);
        assert!(row.iter().all(|value| value <= confidence), "{row:?}");
    }
}
