//! The sentences of ARCHITECTURE.md that are absences, executed.

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
fn files(ending: &str) -> Result<Vec<(String, String)>> {
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

#[test]
fn every_file_opens_with_a_sentence() -> Result<()> {
    let silent: Vec<_> = files(".rs")?
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| name)
        .collect();
    assert!(
        silent.is_empty(),
        "these files do not say what they are for: {silent:?}"
    );
    Ok(())
}

#[test]
fn heavy_dependencies_are_named_in_one_place() -> Result<()> {
    let places = [
        ("candle_core", &["model-service/src/candle"][..]),
        ("candle_nn", &["model-service/src/candle"]),
        (
            "rusqlite",
            &[
                "gateway/src/store/sqlite",
                "gateway/src/store/tests",
                "feature-store/src/backend/sqlite",
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
        ("reqwest", &["telemetry/", "tests/bans/"]),
    ];
    for (name, allowed) in places {
        let used = |text: &str| {
            text.contains(&format!("{name}::")) || text.contains(&format!("use {name}"))
        };
        let users: Vec<_> = files(".rs")?
            .into_iter()
            .filter(|(file, text)| file != "tests/e2e/architecture.rs" && used(text))
            .map(|(file, _)| file)
            .collect();
        assert!(
            !users.is_empty(),
            "nobody uses {name}: this test has lost its subject"
        );
        let strangers: Vec<_> = users
            .iter()
            .filter(|file| !allowed.iter().any(|place| file.starts_with(place)))
            .collect();
        assert!(
            strangers.is_empty(),
            "{name} is named in {strangers:?}; its place is {allowed:?}"
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
    for service in ["gateway", "model-service", "feature-store", "explorer"] {
        let (_, users) = cargo_tree(&[
            "--workspace",
            "-i",
            service,
            "--depth",
            "1",
            "--prefix",
            "none",
        ])?;
        let users: Vec<_> = users
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert!(
            users
                .iter()
                .all(|user| matches!(*user, "throughline" | "e2e")),
            "{service} is used by {users:?}"
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
        "nobody uses the API: this test has lost its subject"
    );
    // Set-up is the environment's affair: without `opentelemetry-instrument` the worker has no telemetry and no error.
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
    let (_, users) = cargo_tree(&[
        "--workspace",
        "-i",
        "elasticsearch",
        "--depth",
        "1",
        "--prefix",
        "none",
    ])?;
    let users: Vec<_> = users
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(users, ["gateway"]);
    Ok(())
}

#[test]
fn only_the_feature_store_depends_on_redis() -> Result<()> {
    let (_, users) = cargo_tree(&[
        "--workspace",
        "-i",
        "redis",
        "--depth",
        "1",
        "--prefix",
        "none",
    ])?;
    let users: Vec<_> = users
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(users, ["feature-store"]);
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
