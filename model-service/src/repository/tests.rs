//! Versions on a disk: interrupted writes, concurrent writers, damaged files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::*;
use crate::training::{TrainOptions, train};

/// A trained version, made once: the manifest and the weights to write again.
fn sample() -> &'static (Manifest, Vec<u8>) {
    static SAMPLE: OnceLock<(Manifest, Vec<u8>)> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let data = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../data/wine_quality/winequality-red.csv"
        );
        let mut options = TrainOptions::new(data, folder.path());
        options.hyperparameters.epochs = 1;
        let report = train(&options).unwrap();
        let weights = fs::read(report.folder.join(WEIGHTS)).unwrap();
        (report.manifest, weights)
    })
}

fn files(weights: &[u8]) -> VersionFiles<'_> {
    VersionFiles {
        weights,
        tokenizer: None,
    }
}

pub(super) fn write(root: &Path) -> PathBuf {
    let (manifest, weights) = sample();
    let written = write_version(root, manifest.clone(), files(weights)).unwrap();
    root.join(&written.name).join(&written.version)
}

pub(super) fn refreshed(root: &Path) -> ModelRepository {
    let repository = ModelRepository::new(root);
    repository.refresh().unwrap();
    repository
}

pub(super) fn latest(repository: &ModelRepository) -> Result<String, NotServed> {
    repository
        .find("wine_quality", None)
        .map(|loaded| loaded.manifest.version.clone())
}

#[test]
fn a_manifest_is_read_as_it_was_written() {
    let root = tempfile::tempdir().unwrap();
    let place = write(root.path());
    let read: Manifest = serde_json::from_slice(&fs::read(place.join(MANIFEST)).unwrap()).unwrap();
    let (sample, _) = sample();
    // Floats may differ in the last bit after JSON, so the parts that decide are compared one by
    // one.
    assert_eq!(read.version, "1");
    assert_eq!(
        (&read.run_id, &read.features, &read.classes),
        (&sample.run_id, &sample.features, &sample.classes)
    );
    assert_eq!(read.hyperparameters, sample.hyperparameters);
    assert_eq!(read.normalisation, sample.normalisation);
    assert_eq!(read.dataset, sample.dataset);
    assert_eq!(read.check(), Ok(()));
}

#[test]
fn versions_count_up_and_stay() {
    let root = tempfile::tempdir().unwrap();
    for expected in ["1", "2", "3"] {
        assert!(write(root.path()).ends_with(expected));
    }
    let repository = refreshed(root.path());
    assert_eq!(latest(&repository), Ok("3".to_owned()));
    for version in ["1", "2", "3"] {
        assert_eq!(
            repository
                .find("wine_quality", Some(version))
                .unwrap()
                .manifest
                .version,
            version
        );
    }
}

#[test]
fn after_version_nine_comes_ten() {
    let root = tempfile::tempdir().unwrap();
    for _ in 0..10 {
        write(root.path());
    }
    assert_eq!(
        latest(&refreshed(root.path())),
        Ok("10".to_owned()),
        "versions are numbers, not texts"
    );
}

#[test]
fn concurrent_writers_all_get_whole_versions() {
    let root = tempfile::tempdir().unwrap();
    let (manifest, weights) = sample();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let root = root.path();
            scope.spawn(move || {
                let mut manifest = manifest.clone();
                manifest.run_id = format!("{writer:032x}");
                write_version(root, manifest, files(weights)).unwrap();
            });
        }
    });
    let repository = refreshed(root.path());
    let models = repository.models();
    let versions = models["wine_quality"]
        .ready()
        .map(|loaded| loaded.manifest.version.clone());
    assert_eq!(
        versions.collect::<Vec<_>>(),
        ["1", "2", "3", "4", "5", "6", "7", "8"]
    );
    assert_eq!(models["wine_quality"].unavailable().count(), 0);
    let left: Vec<_> = fs::read_dir(root.path().join("wine_quality"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 8, "no temporary folder is left: {left:?}");
}

#[test]
fn a_half_written_version_is_ignored() {
    let root = tempfile::tempdir().unwrap();
    let whole = write(root.path());
    let model = root.path().join("wine_quality");
    fs::create_dir(model.join("2")).unwrap();
    fs::create_dir(model.join(".tmp-1")).unwrap();
    fs::copy(whole.join(MANIFEST), model.join("2").join(MANIFEST)).unwrap();
    fs::create_dir(model.join("3")).unwrap();
    fs::create_dir(model.join("notes")).unwrap();
    let repository = refreshed(root.path());
    assert_eq!(latest(&repository), Ok("1".to_owned()));
    let models = repository.models();
    let unavailable: Vec<u64> = models["wine_quality"]
        .unavailable()
        .map(|(version, _)| version)
        .collect();
    assert_eq!(unavailable, [2, 3]);
    assert!(matches!(
        repository.find("wine_quality", Some("2")),
        Err(NotServed::NotReady { .. })
    ));
    assert!(
        write(root.path()).ends_with("4"),
        "a number is never used twice"
    );
}

/// A version as the Python worker writes it.
pub(super) fn write_foreign(root: &Path, version: &str) {
    let place = root.join("wine_quality").join(version);
    fs::create_dir_all(&place).unwrap();
    let manifest = serde_json::json!({
        "name": "wine_quality", "version": version, "framework": "scikit-learn", "hyperparameters": {"max_iter": 100},
    });
    fs::write(place.join(MANIFEST), manifest.to_string()).unwrap();
    fs::write(place.join("model.skops"), "trees").unwrap();
}

#[test]
fn versions_of_another_framework_count_but_are_skipped() {
    let root = tempfile::tempdir().unwrap();
    write_foreign(root.path(), "1");
    let repository = refreshed(root.path());
    assert!(
        matches!(latest(&repository), Err(NotServed::UnknownModel(_))),
        "it has no version of this service yet"
    );
    assert!(
        write(root.path()).ends_with("2"),
        "a number means one version in all languages"
    );
    write_foreign(root.path(), "3");
    repository.refresh().unwrap();
    assert_eq!(latest(&repository), Ok("2".to_owned()));
    assert!(matches!(
        repository.find("wine_quality", Some("3")),
        Err(NotServed::UnknownVersion { .. })
    ));
    assert_eq!(
        repository.models()["wine_quality"].unavailable().count(),
        0,
        "nothing is wrong with it"
    );
}

#[test]
fn damage_is_reported_as_the_reason() {
    type Damage = fn(&Path);
    let cases: [(Damage, &str); 5] = [
        (
            |place| fs::write(place.join(MANIFEST), "{").unwrap(),
            "not a manifest",
        ),
        (
            |place| fs::remove_file(place.join(WEIGHTS)).unwrap(),
            "cannot be read",
        ),
        (
            |place| {
                let mut weights = fs::read(place.join(WEIGHTS)).unwrap();
                let last = weights.len() - 1;
                weights[last] ^= 1;
                fs::write(place.join(WEIGHTS), weights).unwrap();
            },
            "not the file",
        ),
        (
            |place| {
                let text = fs::read_to_string(place.join(MANIFEST)).unwrap();
                let text = text.replace("\"version\": \"1\"", "\"version\": \"7\"");
                fs::write(place.join(MANIFEST), text).unwrap();
            },
            "another folder",
        ),
        (
            |place| {
                let text = fs::read_to_string(place.join(MANIFEST)).unwrap();
                let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
                manifest["hyperparameters"]["hidden"] = serde_json::json!([5, 5]);
                fs::write(place.join(MANIFEST), manifest.to_string()).unwrap();
            },
            "cannot be built",
        ),
    ];
    for (damage, expected) in cases {
        let root = tempfile::tempdir().unwrap();
        damage(&write(root.path()));
        let reason = latest(&refreshed(root.path())).unwrap_err().to_string();
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn a_refresh_finds_new_repaired_and_removed_versions() {
    let root = tempfile::tempdir().unwrap();
    let repository = ModelRepository::new(root.path().join("later"));
    assert!(
        !repository.refresh().unwrap(),
        "a repository may not exist yet"
    );
    assert_eq!(
        latest(&repository),
        Err(NotServed::UnknownModel("wine_quality".to_owned()))
    );
    let root = root.path().join("later");
    let first = write(&root);
    let weights = fs::read(first.join(WEIGHTS)).unwrap();
    fs::remove_file(first.join(WEIGHTS)).unwrap();
    assert!(!repository.refresh().unwrap());
    fs::write(first.join(WEIGHTS), weights).unwrap();
    assert!(repository.refresh().unwrap());
    let held = repository.find("wine_quality", None).unwrap();
    write(&root);
    repository.refresh().unwrap();
    assert_eq!(latest(&repository), Ok("2".to_owned()));
    fs::remove_dir_all(root.join("wine_quality/2")).unwrap();
    repository.refresh().unwrap();
    let again = repository.find("wine_quality", None).unwrap();
    assert!(
        std::sync::Arc::ptr_eq(&held, &again),
        "a known version is not read again"
    );
    fs::remove_dir_all(&root).unwrap();
    assert!(repository.refresh().is_err());
    assert_eq!(
        latest(&repository),
        Ok("1".to_owned()),
        "loaded versions survive the loss of the volume"
    );
}

#[test]
fn names_that_would_leave_the_folder_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let (manifest, weights) = sample();
    for name in ["", "..", "../up", "a/b", ".hidden", "a b", "a\0b"] {
        let manifest = Manifest {
            name: name.to_owned(),
            ..manifest.clone()
        };
        assert!(matches!(
            write_version(root.path(), manifest, files(weights)),
            Err(WriteError::Name(_))
        ));
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn only_plain_numbers_are_versions() {
    let root = tempfile::tempdir().unwrap();
    write(root.path());
    let repository = refreshed(root.path());
    for version in [
        "0",
        "01",
        "+1",
        "-1",
        "v1",
        "latest",
        "99999999999999999999",
    ] {
        let found = repository.find("wine_quality", Some(version));
        assert!(
            matches!(found, Err(NotServed::UnknownVersion { .. })),
            "{version}"
        );
    }
}
