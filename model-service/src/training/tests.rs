//! The split, the learning and the whole training, on the real data.

use std::collections::HashSet;
use std::path::Path;

use super::table::Example;
use super::*;

const DATA: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../data/wine_quality/winequality-red.csv"
);

fn data() -> Table {
    data::read_wines(Path::new(DATA)).unwrap()
}

fn short_options(repository: &Path) -> TrainOptions {
    let mut options = TrainOptions::new(DATA, repository);
    options.hyperparameters.epochs = 2;
    options
}

fn weights(report: &TrainReport) -> Vec<u8> {
    std::fs::read(report.folder.join("model.safetensors")).unwrap()
}

#[test]
fn all_rows_are_read_in_order() {
    let data = data();
    assert_eq!(data.examples.len(), 1599);
    let first = &data.examples[0];
    let expected = [
        7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4_f32,
    ];
    let bits = |values: &[f32]| values.iter().copied().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(&first.features), bits(&expected));
    assert!(first.target.is_class(0), "quality 5 is low");
    assert!(data.examples[3].target.is_class(1), "quality 6 is high");
    assert_eq!(data.sha256.len(), 64);
}

#[test]
fn equal_rows_stay_on_one_side() {
    let data = data();
    for seed in 0..20 {
        let split = split(&data.examples, PARTS, seed);
        let key = |example: &Example| {
            let features = example.features.iter();
            features.map(|value| value.to_bits()).collect::<Vec<_>>()
        };
        let training: HashSet<_> = split.training.iter().map(key).collect();
        assert!(
            split
                .validation
                .iter()
                .all(|example| !training.contains(&key(example)))
        );
        assert_eq!(split.training.len() + split.validation.len(), 1599);
        let share = split.validation.len() as f64 / 1599.0;
        assert!(
            (0.15..0.25).contains(&share),
            "{share} is not about a fifth"
        );
    }
}

/// The Python worker's tests read the same file.
#[test]
fn the_validation_rows_of_seed_42_are_those_of_the_file() {
    let wines = held_out_wines(&std::fs::read(DATA).unwrap(), 42).unwrap();
    let (ids, labels): (Vec<String>, Vec<&str>) = wines.into_iter().unzip();
    let high = labels.iter().filter(|label| **label == "high").count();
    assert!((0.4..0.6).contains(&(high as f64 / labels.len() as f64)));
    let expected = include_str!("../../tests/validation-rows-of-seed-42.txt");
    assert_eq!(ids, expected.lines().collect::<Vec<_>>());
}

#[test]
fn the_split_depends_on_the_seed_alone() {
    let data = data();
    assert_eq!(
        split(&data.examples, PARTS, 7).validation,
        split(&data.examples, PARTS, 7).validation
    );
    assert_ne!(
        split(&data.examples, PARTS, 7).validation,
        split(&data.examples, PARTS, 8).validation
    );
}

#[test]
fn the_default_training_is_clearly_better_than_the_majority() {
    let folder = tempfile::tempdir().unwrap();
    let mut epochs = Vec::new();
    let options = TrainOptions::new(DATA, folder.path());
    let report = train_with_progress(&options, &mut |epoch| epochs.push(*epoch)).unwrap();
    let metrics = &report.manifest.metrics;
    let accuracy = metrics.validation_accuracy.unwrap();
    assert!(accuracy >= 0.72, "{metrics:?}");
    assert!(
        accuracy > metrics.majority_baseline.unwrap() + 0.1,
        "{metrics:?}"
    );
    assert_eq!(metrics.training_rows + metrics.validation_rows, 1599);
    assert_eq!(epochs.len(), options.hyperparameters.epochs);
    assert!(epochs.last().unwrap().loss < epochs[0].loss);
    assert!(epochs.iter().all(|epoch| epoch.gradient_norm > 0.0));
}

#[test]
fn same_seed_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let options = short_options(folder.path());
    let (first, second) = (train(&options).unwrap(), train(&options).unwrap());
    assert_eq!(weights(&first), weights(&second));
    assert_eq!(first.manifest.metrics, second.manifest.metrics);
    assert_ne!(first.manifest.run_id, second.manifest.run_id);
    assert_eq!(
        (
            first.manifest.version.as_str(),
            second.manifest.version.as_str()
        ),
        ("1", "2")
    );
    let other = train(&TrainOptions {
        seed: 43,
        ..options
    })
    .unwrap();
    assert_ne!(weights(&first), weights(&other));
}

#[test]
fn the_reference_profile_describes_the_training_part() {
    let folder = tempfile::tempdir().unwrap();
    let reference = train(&short_options(folder.path()))
        .unwrap()
        .manifest
        .reference;
    assert_eq!(reference.features.len(), FEATURES.len());
    for feature in &reference.features {
        assert_eq!(feature.decile_edges.len(), 9);
        assert!(feature.decile_edges.is_sorted());
        assert!((feature.decile_shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(feature.min <= feature.mean && feature.mean <= feature.max && feature.std > 0.0);
    }
    assert!((reference.class_shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(
        reference
            .confidence_deciles
            .iter()
            .all(|confidence| (0.5..=1.0).contains(confidence))
    );
}

#[test]
fn run_ids_are_32_hex_digits() {
    let folder = tempfile::tempdir().unwrap();
    let run_id = train(&short_options(folder.path()))
        .unwrap()
        .manifest
        .run_id;
    assert_eq!(run_id.len(), 32);
    assert!(run_id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
}

#[test]
fn unusable_data_leave_no_version() {
    let folder = tempfile::tempdir().unwrap();
    let header = format!("data_id,{},quality\n", FEATURES.join(","));
    let cases = [
        (
            "data_id,quality\nwine-0001,5\n".to_owned(),
            "no column fixed_acidity",
        ),
        (
            format!("{header}wine-0001,1,2,3,4,5,6,7,8,9,10,eleven,5\n"),
            "line 2",
        ),
        (
            format!("{header}wine-0001,1,2,3,4,5,6,7,8,9,10,NaN,5\n"),
            "line 2",
        ),
        (format!("{header}wine-0001,1,2\n"), "not valid CSV"),
        (header.clone(), "0 rows"),
    ];
    for (csv, expected) in cases {
        let data = folder.path().join("data.csv");
        std::fs::write(&data, csv).unwrap();
        let options = TrainOptions::new(&data, folder.path().join("models"));
        let error = train(&options).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let missing = TrainOptions::new(folder.path().join("none.csv"), folder.path().join("models"));
    assert!(matches!(train(&missing), Err(TrainError::Read { .. })));
    assert!(!folder.path().join("models").exists());
}
