//! The files that documents name are there. `docs/runner` runs the commands of documents.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

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

/// The headings' anchors, as GitHub makes them: lower case, without punctuation, with dashes for spaces.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut code = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        code ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if code || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let name: String = title.trim().to_lowercase().chars().filter(kept).collect();
        anchors.insert(name.replace(' ', "-"));
    }
    anchors
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(document: &str) -> Result<String> {
    std::fs::read_to_string(root().join(document)).with_context(|| document.to_owned())
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

/// A heading that was renamed must not leave a link behind that leads to the top of its page.
#[test]
fn the_headings_that_links_name_exist() -> Result<()> {
    let mut absent = Vec::new();
    let mut seen = 0;
    for document in documents()? {
        let text = read(&document)?;
        let folder = Path::new(&document).parent().unwrap_or(Path::new(""));
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for (path, anchor) in targets.filter_map(|target| target.split_once('#')) {
            let target = match path {
                "" => document.clone(),
                _ => folder.join(path).display().to_string(),
            };
            if path.contains("://") || !target.ends_with(".md") {
                continue;
            }
            seen += 1;
            if !anchors(&read(&target)?).contains(anchor) {
                absent.push(format!("{document}: {path}#{anchor}"));
            }
        }
    }
    ensure!(seen > 5, "only {seen} links to headings");
    ensure!(absent.is_empty(), "{absent:#?}");
    Ok(())
}
