//! The choice of a version: it lasts, it holds for all readers, and it is never half made.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::tests::{latest, refreshed, write, write_foreign};
use super::super::{MANIFEST, WEIGHTS};
use super::*;

const MODEL: &str = "wine_quality";

fn current(repository: &ModelRepository) -> String {
    latest(repository).unwrap()
}

fn versions(count: usize) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for _ in 0..count {
        write(root.path());
    }
    root
}

/// A version without its weights.
fn write_half(root: &Path, version: &str) {
    let model = root.join(MODEL);
    fs::create_dir(model.join(version)).unwrap();
    let manifest = fs::read_to_string(model.join("1").join(MANIFEST)).unwrap();
    let version_field = format!("\"version\": \"{version}\"");
    let manifest = manifest.replace("\"version\": \"1\"", &version_field);
    fs::write(model.join(version).join(MANIFEST), manifest).unwrap();
}

fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join(MODEL)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_chosen_version_stays_for_all_readers_until_the_newest_is_wanted() {
    let root = versions(3);
    let (one, other) = (refreshed(root.path()), refreshed(root.path()));
    let held = one.find(MODEL, None).unwrap();
    assert_eq!(one.choose(MODEL, Target::Version(2)).unwrap(), 2);
    assert_eq!(current(&one), "2");
    assert_eq!(held.manifest.version, "3", "a request keeps what it found");
    other.refresh().unwrap();
    assert_eq!(current(&other), "2");
    write(root.path());
    one.refresh().unwrap();
    assert_eq!(current(&one), "2");
    assert_eq!(one.models()[MODEL].chosen(), Some(2));
    assert_eq!(current(&refreshed(root.path())), "2", "after a restart");
    let third = one.find(MODEL, Some("3")).unwrap();
    assert_eq!(third.manifest.version, "3", "others can be asked for");

    assert_eq!(other.choose(MODEL, Target::Newest).unwrap(), 4);
    assert_eq!(other.models()[MODEL].chosen(), None);
    write(root.path());
    one.refresh().unwrap();
    assert_eq!(current(&one), "5", "newer versions are followed again");
    assert_eq!(names(root.path()), ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_version_that_cannot_be_served_changes_nothing() {
    let root = versions(2);
    write_half(root.path(), "3");
    let repository = refreshed(root.path());
    for target in [Target::Newest, Target::Version(3)] {
        let error = repository.choose(MODEL, target).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("version 3: model.safetensors"), "{text}");
    }
    write_foreign(root.path(), "4");
    for version in [4, 9] {
        assert!(matches!(
            repository.choose(MODEL, Target::Version(version)),
            Err(ControlError::NotServed(NotServed::UnknownVersion { .. }))
        ));
    }
    for name in ["none", "", "..", "wine_quality/1"] {
        assert!(matches!(
            repository.choose(name, Target::Newest),
            Err(ControlError::NotServed(NotServed::UnknownModel(_)))
        ));
    }
    assert_eq!(current(&repository), "2");
    assert_eq!(names(root.path()), ["1", "2", "3", "4"]);
    // When it is whole, it is read again.
    let weights = root.path().join(MODEL).join("1").join(WEIGHTS);
    fs::copy(weights, root.path().join(MODEL).join("3").join(WEIGHTS)).unwrap();
    assert_eq!(repository.choose(MODEL, Target::Newest).unwrap(), 3);
    assert_eq!(current(&repository), "3");
}

#[test]
fn an_unloaded_model_is_not_served_until_it_is_loaded() {
    let root = versions(2);
    let (one, other) = (refreshed(root.path()), refreshed(root.path()));
    let held = one.find(MODEL, None).unwrap();
    one.unload(MODEL).unwrap();
    assert!(!other.refresh().unwrap(), "no version is current");
    write(root.path());
    write_foreign(root.path(), "4");
    for repository in [one, other, refreshed(root.path())] {
        repository.refresh().unwrap();
        for version in [None, Some("2")] {
            let found = repository.find(MODEL, version);
            assert_eq!(found.unwrap_err(), NotServed::Unloaded(MODEL.to_owned()));
        }
        let models = repository.models();
        assert_eq!(models[MODEL].ready().count(), 0, "it needs no memory");
        assert_eq!(models[MODEL].idle().collect::<Vec<_>>(), [1, 2, 3]);
        repository.unload(MODEL).unwrap();
    }
    assert_eq!(held.manifest.version, "2");
    let again = refreshed(root.path());
    assert_eq!(again.choose(MODEL, Target::Version(2)).unwrap(), 2);
    assert_eq!(current(&again), "2");
}

#[test]
fn back_is_the_next_lower_version_that_can_be_served() {
    let root = versions(2);
    write_half(root.path(), "3");
    write(root.path());
    let repository = refreshed(root.path());
    assert_eq!(current(&repository), "4");
    assert_eq!(repository.choose(MODEL, Target::Previous).unwrap(), 2);
    assert_eq!(repository.choose(MODEL, Target::Previous).unwrap(), 1);
    let oldest = repository.choose(MODEL, Target::Previous).unwrap_err();
    assert!(matches!(oldest, ControlError::Oldest(1, _)), "{oldest:?}");
    assert_eq!(current(&repository), "1");
}

#[test]
fn a_choice_that_cannot_be_followed_leaves_the_version_before() {
    let root = versions(2);
    let repository = refreshed(root.path());
    let file = root.path().join(MODEL).join("current.candle");
    for (text, reason) in [
        ("latest", "no number"),
        ("", "no number"),
        ("3\n", "version 3"),
    ] {
        fs::write(&file, text).unwrap();
        repository.refresh().unwrap();
        assert_eq!(current(&repository), "2", "{text:?}");
        // A service that starts now has no version before.
        let error = latest(&refreshed(root.path())).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    // The version that the file names comes later, as on a volume that is copied.
    write(root.path());
    write(root.path());
    repository.refresh().unwrap();
    assert_eq!(current(&repository), "3");
}

#[test]
fn a_choice_that_cannot_be_written_changes_nothing() {
    let root = versions(2);
    let repository = refreshed(root.path());
    // A folder cannot be replaced by a file, whoever runs the test.
    let file = root.path().join(MODEL).join("current.candle");
    fs::create_dir_all(file.join("in the way")).unwrap();
    for changed in [
        repository.choose(MODEL, Target::Version(1)).map(drop),
        repository.unload(MODEL),
    ] {
        assert!(matches!(changed, Err(ControlError::Write(_))));
    }
    assert_eq!(current(&repository), "2");
    assert_eq!(names(root.path()), ["1", "2", "current.candle"]);
}

#[test]
fn readers_see_one_choice_or_the_other() {
    let root = versions(2);
    let writer = refreshed(root.path());
    writer.choose(MODEL, Target::Version(1)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    // A service that starts has nothing to fall back on.
                    let seen = current(&refreshed(root.path()));
                    assert!(["1", "2"].contains(&&*seen), "{seen}");
                }
            });
        }
        for round in 0..100 {
            let version = Target::Version(round % 2 + 1);
            writer.choose(MODEL, version).unwrap();
        }
        done.store(true, Ordering::Release);
    });
}
