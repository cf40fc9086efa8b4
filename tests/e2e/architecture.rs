//! What ARCHITECTURE.md says does not exist: dependencies, and names outside their place.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the checkout is there")
}

/// Files of the checkout that end in `ending`, as git knows them, with their text.
pub(crate) fn files(ending: &str) -> Result<Vec<(String, String)>> {
    let listed = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()?;
    let listed = String::from_utf8(listed.stdout)?;
    let wanted = listed
        .lines()
        .filter(|name| name.ends_with(ending) && root().join(name).is_file());
    let read = wanted.map(|name| {
        Ok((
            name.to_owned(),
            std::fs::read_to_string(root().join(name)).with_context(|| name.to_owned())?,
        ))
    });
    let files: Vec<_> = read.collect::<Result<_>>()?;
    assert!(!files.is_empty(), "no file ends in {ending}");
    Ok(files)
}

fn cargo_tree(args: &[&str]) -> Result<(bool, String)> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--offline", "--locked", "-e", "normal"])
        .args(args)
        .output()?;
    Ok((output.status.success(), String::from_utf8(output.stdout)?))
}

/// The packages that depend on one outside their tests.
fn users(package: &str) -> Result<Vec<String>> {
    let args = [
        "--workspace",
        "-i",
        package,
        "--depth",
        "1",
        "--prefix",
        "none",
    ];
    let (_, tree) = cargo_tree(&args)?;
    let users: BTreeSet<String> = tree
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    Ok(users.into_iter().collect())
}

#[test]
fn every_file_opens_with_a_sentence() -> Result<()> {
    let undocumented: Vec<_> = files(".rs")?
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| name)
        .collect();
    assert!(
        undocumented.is_empty(),
        "these files do not say what they are for: {undocumented:?}"
    );
    Ok(())
}

#[test]
fn heavy_dependencies_are_named_in_one_place() -> Result<()> {
    let places = [
        ("candle_core", &["model-service/src/candle"][..]),
        ("candle_nn", &["model-service/src/candle"]),
        ("pulp", &["model-service/src/candle"]),
        ("rayon", &["model-service/src/candle"]),
        (
            "rusqlite",
            &[
                "gateway/src/store/sqlite",
                "gateway/src/store/tests",
                "gateway/src/tests/stores.rs",
                "feature-store/src/backend/sqlite",
                "feature-store/tests/",
            ],
        ),
        // The two that are no folder name the module `redis` beside them.
        (
            "redis",
            &[
                "feature-store/src/backend/redis",
                "feature-store/src/backend.rs",
                "feature-store/src/backend/database.rs",
                "feature-store/tests/",
            ],
        ),
        ("opentelemetry_sdk", &["telemetry/"]),
        ("tokenizers", &["model-service/src/text"]),
        ("reqwest", &["telemetry/", "tests/bans/"]),
        ("hyper_rustls", &["telemetry/"]),
    ];
    for (name, allowed) in places {
        let used = |text: &str| {
            text.contains(&format!("{name}::")) || text.contains(&format!("use {name}"))
        };
        let users: Vec<_> = files(".rs")?
            .into_iter()
            // The tutorial's program stands alone, to be copied.
            .filter(|(file, _)| !file.starts_with("examples/tutorial/"))
            .filter(|(file, text)| file != "tests/e2e/architecture.rs" && used(text))
            .map(|(file, _)| file)
            .collect();
        assert!(
            !users.is_empty(),
            "nothing uses {name}, so this test checks nothing"
        );
        let misplaced: Vec<_> = users
            .iter()
            .filter(|file| !allowed.iter().any(|place| file.starts_with(place)))
            .collect();
        assert!(
            misplaced.is_empty(),
            "{name} is named in {misplaced:?}; its place is {allowed:?}"
        );
    }
    Ok(())
}

#[test]
fn dependencies_point_one_way() -> Result<()> {
    // Each absence has a positive twin: `cargo tree -i` also fails for a name that is misspelt.
    let absent = [
        ("gateway", "candle-core"),
        ("feature-store", "candle-core"),
        ("protocol", "tokio"),
        ("explorer", "rusqlite"),
    ];
    let present = [
        ("model-service", "candle-core"),
        ("gateway", "tokio"),
        ("gateway", "rusqlite"),
    ];
    for (package, dependency) in absent {
        assert!(
            !cargo_tree(&["-p", package, "-i", dependency])?.0,
            "{package} must not link {dependency}"
        );
    }
    for (package, dependency) in present {
        assert!(
            cargo_tree(&["-p", package, "-i", dependency])?.0,
            "{package} links {dependency}"
        );
    }
    // No service depends on another: only the command line starts them, and tests.
    for service in ["gateway", "model-service", "feature-store"] {
        assert_eq!(users(service)?, ["throughline"], "of {service}");
    }
    // Its traces and their drawings serve the collector of tests and the book of the documents, too.
    assert_eq!(
        users("explorer")?,
        ["docs-runner", "harness", "throughline"]
    );
    Ok(())
}

#[test]
fn the_harness_is_for_tests_alone() -> Result<()> {
    assert_eq!(users("harness")?, Vec::<String>::new());
    // Cargo allows a circle of a package and its tests, so that the tests of the explorer can use
    // the harness, too.
    let services = ["gateway", "model-service", "feature-store"];
    for service in services {
        assert!(
            !cargo_tree(&["-p", "harness", "-i", service])?.0,
            "the harness knows no service but the explorer, which is its collector: {service}"
        );
    }
    Ok(())
}

#[test]
fn the_python_worker_knows_the_api_of_telemetry_alone() -> Result<()> {
    let package = "model-service/python/src/";
    let modules: Vec<_> = files(".py")?
        .into_iter()
        .filter(|(file, _)| file.starts_with(package))
        .collect();
    let import = |line: &str, package: &str| {
        let line = line.trim_start();
        let imports = line.starts_with("import ") || line.starts_with("from ");
        imports
            && line
                .split_whitespace()
                .nth(1)
                .is_some_and(|name| name.starts_with(package))
    };
    let importing = |package: &str| -> Vec<&str> {
        let imports = modules
            .iter()
            .filter(|(_, text)| text.lines().any(|line| import(line, package)));
        imports.map(|(file, _)| file.as_str()).collect()
    };
    assert!(
        !importing("opentelemetry").is_empty(),
        "nothing uses the API, so this test checks nothing"
    );
    // `opentelemetry-instrument` sets telemetry up: without `opentelemetry-instrument` the worker
    // has no telemetry and no error.
    for package in [
        "opentelemetry.sdk",
        "opentelemetry.exporter",
        "opentelemetry.instrumentation",
        "elasticotel",
    ] {
        assert_eq!(
            importing(package),
            Vec::<&str>::new(),
            "{package} is imported"
        );
    }
    Ok(())
}

#[test]
fn only_the_gateway_depends_on_elasticsearch() -> Result<()> {
    assert_eq!(users("elasticsearch")?, ["gateway"]);
    Ok(())
}

#[test]
fn only_the_feature_store_depends_on_redis() -> Result<()> {
    assert_eq!(users("redis")?, ["feature-store"]);
    Ok(())
}

#[test]
fn only_telemetry_depends_on_the_sdk() -> Result<()> {
    let (_, users) = cargo_tree(&[
        "--workspace",
        "-i",
        "opentelemetry_sdk",
        "--depth",
        "1",
        "--prefix",
        "none",
    ])?;
    let ours: Vec<_> = users
        .lines()
        .filter(|line| line.contains(root().to_str().expect("a plain path")))
        .collect();
    assert!(
        ours.len() == 1 && ours[0].starts_with("telemetry "),
        "{ours:?}"
    );
    Ok(())
}
