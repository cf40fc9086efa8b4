//! The reviews, their split, and the promise of the accuracy.

use std::path::Path;

use super::*;
use crate::training::train_with_progress;

const DATA: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../data/product_reviews/reviews.csv"
);

fn data() -> TextData {
    TextData::read(Path::new(DATA)).unwrap()
}

#[test]
fn clear_ratings_become_two_classes() {
    let data = data();
    assert_eq!(data.examples.len(), 2943);
    let examples: Vec<&TextExample> = data.examples.iter().collect();
    let positive = share(&examples, 1);
    assert!((positive - 0.586).abs() < 0.001, "{positive}");
    assert_eq!(data.examples[0].class, 0, "-0.9 is negative");
}

#[test]
fn a_review_is_never_on_both_sides_and_is_held_out_once() {
    let data = data();
    let mut held_out = 0;
    for fold in 0..PARTS {
        let split = split(&data.examples, fold, PARTS, 42);
        held_out += split.validation.len();
        for example in &split.validation {
            let on_both = split
                .training
                .iter()
                .any(|other| other.review == example.review);
            assert!(!on_both, "review {}", example.review);
        }
    }
    assert_eq!(held_out, data.examples.len());
}

/// A linear model on TF-IDF of words and pairs reaches 0.789.
#[test]
fn cross_validation_reaches_what_is_promised() {
    let options = TrainOptions::of_texts(DATA, "unused");
    let mut folds = 0;
    let result = cross_validate(&options, PARTS, |_| folds += 1).unwrap();
    assert_eq!((folds, result.folds.len(), result.rows), (5, 5, 2943));
    assert!(result.accuracy >= 0.789, "{result:?}");
    assert!(
        (result.majority_baseline - 0.586).abs() < 0.001,
        "{result:?}"
    );
}

#[test]
fn a_training_writes_a_version_and_repeats_itself_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = TrainOptions::of_texts(DATA, folder.path());
    options.hyperparameters.epochs = 2;
    let mut epochs = Vec::new();
    let first = train_with_progress(&options, &mut |epoch| epochs.push(epoch.loss)).unwrap();
    let second = train_with_progress(&options, &mut |_| {}).unwrap();
    assert!(epochs[1] < epochs[0], "{epochs:?}");
    let manifest = &first.manifest;
    assert_eq!(manifest.check(), Ok(()));
    assert!(manifest.metrics.validation_accuracy > manifest.metrics.majority_baseline);
    let unknown = &manifest.reference.features[1];
    assert!(unknown.mean > 0.0 && unknown.max <= 1.0, "{unknown:?}");
    for file in ["model.safetensors", "tokenizer.json"] {
        let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        assert_eq!(read(&first.folder), read(&second.folder), "{file}");
    }
}

#[test]
fn data_that_cannot_be_trained_on_is_refused_and_nothing_is_written() {
    let cases = [
        ("", "no column data_id"),
        ("data_id,rating\n1_1,2\n", "no column text"),
        ("data_id,rating,text\n1_1,2,good\n1_2,bad,x\n", "line 3"),
        ("data_id,rating,text\n1_1,NaN,good\n", "line 2"),
        ("data_id,rating,text\n1_1,2, \n", "line 2"),
        ("data_id,rating,text\n1_1,2,good\n", "1 rows are too few"),
        ("data_id,rating,text\n", "0 rows are too few"),
    ];
    for (content, expected) in cases {
        let message = refused(content);
        assert!(message.contains(expected), "{content:?}: {message}");
    }
    let one_class = (0..40).map(|review| format!("{review}_1,2,good\n"));
    let one_class: String = one_class.collect();
    let message = refused(&format!("data_id,rating,text\n{one_class}"));
    assert!(message.contains("one class"), "{message}");
}

fn refused(content: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reviews.csv");
    std::fs::write(&file, content).unwrap();
    let models = folder.path().join("models");
    let options = TrainOptions::of_texts(file, &models);
    let error = crate::training::train(&options).unwrap_err();
    assert!(!models.exists(), "nothing is written");
    error.to_string()
}
