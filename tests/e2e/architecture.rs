//! The sentences of ARCHITECTURE.md that are absences, executed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the checkout is there")
}

/// Files of the checkout that end in `ending`, as git knows them, with their text.
fn files(ending: &str) -> Result<Vec<(String, String)>> {
    let listed = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()?;
    let listed = String::from_utf8(listed.stdout)?;
    let wanted = listed.lines().filter(|name| name.ends_with(ending) && root().join(name).is_file());
    let read = wanted.map(|name| {
        Ok((name.to_owned(), std::fs::read_to_string(root().join(name)).with_context(|| name.to_owned())?))
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
    let silent: Vec<_> =
        files(".rs")?.into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(name, _)| name).collect();
    assert!(silent.is_empty(), "these files do not say what they are for: {silent:?}");
    Ok(())
}

#[test]
fn heavy_dependencies_are_named_in_one_place() -> Result<()> {
    let places = [
        ("candle_core", &["model-service/src/candle"][..]),
        ("candle_nn", &["model-service/src/candle"]),
        ("rusqlite", &["gateway/src/store/sqlite", "gateway/src/store/tests", "feature-store/src/backend/sqlite"]),
        ("opentelemetry_sdk", &["telemetry/"]),
        ("opentelemetry_otlp", &["telemetry/"]),
        ("reqwest", &["telemetry/", "clippy.toml"]),
    ];
    for (name, allowed) in places {
        let used = |text: &str| text.contains(&format!("{name}::")) || text.contains(&format!("use {name}"));
        let users: Vec<_> = files(".rs")?
            .into_iter()
            .filter(|(file, text)| file != "tests/e2e/architecture.rs" && used(text))
            .map(|(file, _)| file)
            .collect();
        assert!(!users.is_empty(), "nobody uses {name}: this test has lost its subject");
        let strangers: Vec<_> =
            users.iter().filter(|file| !allowed.iter().any(|place| file.starts_with(place))).collect();
        assert!(strangers.is_empty(), "{name} is named in {strangers:?}; its place is {allowed:?}");
    }
    Ok(())
}

#[test]
fn dependencies_point_one_way() -> Result<()> {
    // Each absence has a positive twin: `cargo tree -i` also fails for a name that is misspelt.
    let absent =
        [("gateway", "candle-core"), ("feature-store", "candle-core"), ("protocol", "tokio"), ("explorer", "rusqlite")];
    let present = [("model-service", "candle-core"), ("gateway", "tokio"), ("gateway", "rusqlite")];
    for (package, dependency) in absent {
        assert!(!cargo_tree(&["-p", package, "-i", dependency])?.0, "{package} must not link {dependency}");
    }
    for (package, dependency) in present {
        assert!(cargo_tree(&["-p", package, "-i", dependency])?.0, "{package} links {dependency}");
    }
    for service in ["gateway", "model-service", "feature-store", "explorer"] {
        let (_, users) = cargo_tree(&["--workspace", "-i", service, "--depth", "1", "--prefix", "none"])?;
        let users: Vec<_> = users.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
        assert!(users.iter().all(|user| matches!(*user, "throughline" | "e2e")), "{service} is used by {users:?}");
    }
    Ok(())
}

#[test]
fn only_the_gateway_depends_on_elasticsearch() -> Result<()> {
    let (_, users) = cargo_tree(&["--workspace", "-i", "elasticsearch", "--depth", "1", "--prefix", "none"])?;
    let users: Vec<_> = users.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(users, ["gateway"]);
    Ok(())
}

#[test]
fn only_telemetry_depends_on_the_sdk() -> Result<()> {
    let (_, users) = cargo_tree(&["--workspace", "-i", "opentelemetry_sdk", "--depth", "1", "--prefix", "none"])?;
    let ours: Vec<_> = users.lines().filter(|line| line.contains(root().to_str().expect("a plain path"))).collect();
    assert!(ours.len() == 1 && ours[0].starts_with("telemetry "), "{ours:?}");
    Ok(())
}
