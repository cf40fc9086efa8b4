//! Runs the commands of the README, so that they stay right.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::system::{PROGRAM, PythonSystem, Site, path, python_environment};

/// Commands of the `sh` blocks of a document, with continued lines joined.
fn commands(document: &str) -> Result<Vec<String>> {
    let text = read(document)?;
    let mut commands = Vec::new();
    let mut inside = false;
    let mut begun = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
            continue;
        }
        let line = line.split("  #").next().unwrap_or_default().trim();
        if !inside || line.is_empty() || line.starts_with('#') {
            continue;
        }
        begun.push_str(line.trim_end_matches('\\'));
        if !line.ends_with('\\') {
            commands.push(std::mem::take(&mut begun));
        }
    }
    ensure!(!commands.is_empty(), "{document} has no commands");
    Ok(commands)
}

/// The Markdown files of the checkout, as git lists them.
fn documents() -> Result<Vec<String>> {
    let listed = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "*.md"])
        .output()?;
    let documents: Vec<String> = String::from_utf8(listed.stdout)?
        .lines()
        .map(str::to_owned)
        .collect();
    ensure!(!documents.is_empty(), "git lists no document");
    Ok(documents)
}

/// The targets of the relative links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(['#', ')']).next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
}

/// The source files between backticks.
fn sources(text: &str) -> impl Iterator<Item = &str> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.contains("/src/"))
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|extension| extension == "rs")
        })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(document: &str) -> Result<String> {
    std::fs::read_to_string(root().join(document)).with_context(|| document.to_owned())
}

#[test]
fn the_commands_of_the_readme_work() -> Result<()> {
    // The README's reader has made the environment of the Python worker, so the system has both
    // variants.
    let system = PythonSystem::shared();
    let first = system.predict(&["wine-0001"])?;
    let mut ran = 0;
    for command in commands("README.md")? {
        let Some(shell) = against(system, &command, &first.span().trace_id) else {
            // What builds or stays is run by a step of `.ci/run`, word for word.
            let ci = read(".ci/steps/test")? + &read(".ci/steps/readme")?;
            // CI is a clone already when it begins.
            ensure!(
                command.starts_with("git clone ") || ci.contains(&command),
                "neither this test nor .ci/run runs `{command}`"
            );
            continue;
        };
        let output = Command::new("bash").args(["-ec", &shell]).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && !said.trim().is_empty(),
            "`{command}` fails: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        ran += 1;
    }
    ensure!(ran >= 3, "only {ran} commands of the README were run");
    Ok(())
}

/// The command against the test's own system, if it is one that asks a running system or prepares
/// one.
fn against(system: &Site, command: &str, trace_id: &str) -> Option<String> {
    let asks = [
        "curl ",
        "cargo run --release -- trace",
        "cargo run --release -- variants",
        "cargo run --release -- python-setup",
    ];
    let asks = asks.iter().any(|start| command.starts_with(start));
    let program = format!(
        "EXPLORER_URL={} GATEWAY_URL={} THROUGHLINE_PYTHON_ENVIRONMENT={} {PROGRAM}",
        system.urls.explorer,
        system.urls.gateway,
        path(python_environment())
    );
    asks.then(|| {
        command
            .replace("http://localhost:8080", &system.urls.gateway)
            .replace(
                "localhost:8080",
                system.urls.gateway.trim_start_matches("http://"),
            )
            .replace(
                "localhost:8090",
                system.urls.explorer.trim_start_matches("http://"),
            )
            .replace("cargo run --release --", &program)
            .replace("$TRACE_ID", trace_id)
    })
}

/// A file that was moved must not leave a document behind that sends readers to its old place.
#[test]
fn the_files_that_documents_name_exist() -> Result<()> {
    let mut absent = Vec::new();
    for document in documents()? {
        let text = read(&document)?;
        let folder = Path::new(&document).parent().unwrap_or(Path::new(""));
        let linked = links(&text).map(|target| folder.join(target));
        let named = sources(&text).map(PathBuf::from);
        absent.extend(
            linked
                .chain(named)
                .filter(|path| !root().join(path).exists())
                .map(|path| format!("{document}: {}", path.display())),
        );
    }
    ensure!(absent.is_empty(), "{absent:#?}");
    Ok(())
}
