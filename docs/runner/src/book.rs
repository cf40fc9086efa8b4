//! The pages as the source of a book for mdBook: links that leave the book go to the repository, and each page that ran says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use explorer::Trace;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};

use crate::checkout::PUBLIC;
use crate::report::{Outcome, PageReport};

/// Where a page says when it ran.
const LAST_RUN: &str = "<!-- docs-runner: last run -->";
/// The parts of the book, and the pages of each: a file, or all of a folder.
const PARTS: [(&str, &[&str]); 5] = [
    ("", &["docs/index.md"]),
    ("See it", &["README.md", "ARCHITECTURE.md"]),
    ("Learn it", &["docs/tutorial/"]),
    (
        "Take it",
        &[
            "docs/recipes/",
            "docs/clients.md",
            "docs/variants.md",
            "docs/drift.md",
            "docs/quality.md",
            "docs/rules.md",
            "docs/encoder.md",
            "docs/distributed.md",
            "docs/deployment.md",
            "docs/check.md",
            "docs/backends.md",
            "docs/elastic.md",
        ],
    ),
    ("Reference", &["docs/", "SECURITY.md", "docs/adr/"]),
];
const SETTINGS: &str = "[book]
title = \"Throughline\"
language = \"en\"
src = \"pages\"

[build]
create-missing = false

[output.html]
no-section-label = true
git-repository-url = \"https://github.com/throughline/throughline\"

[output.html.playground]
runnable = false
";

/// Pictures that pages show.
const PICTURES: &str = "docs/screenshots";

/// Writes the source of the book of the checkout `root` into `folder`.
pub(crate) fn write(root: &Path, folder: &Path, ran: &[PageReport], commit: &str) -> Result<()> {
    let parts = parts(root)?;
    let places: BTreeMap<&String, PathBuf> = parts
        .iter()
        .flat_map(|(_, pages)| pages)
        .map(|page| (page, place(page)))
        .collect();
    let _ = std::fs::remove_dir_all(folder);
    let mut summary = "# Summary\n".to_owned();
    for (part, pages) in &parts {
        if !part.is_empty() {
            let _ = write!(summary, "\n# {part}\n\n");
        }
        for page in pages {
            let text = std::fs::read_to_string(root.join(page))?;
            let title = text.lines().find_map(|line| line.strip_prefix("# "));
            let title = title.with_context(|| format!("{page} has no title"))?;
            let list = if part.is_empty() { "\n" } else { "- " };
            let _ = writeln!(summary, "{list}[{title}]({})", places[page].display());
            let text =
                rewritten(&text, page, &places)?.replace(LAST_RUN, &last_run(page, ran, commit));
            let target = folder.join("pages").join(&places[page]);
            std::fs::create_dir_all(target.parent().unwrap_or(folder))?;
            let diagram = diagram(page, ran, &target)?;
            std::fs::write(target, text + &diagram)?;
        }
    }
    std::fs::write(folder.join("pages/SUMMARY.md"), summary)?;
    copy_pictures(&root.join(PICTURES), &folder.join("pages/screenshots"))?;
    Ok(std::fs::write(folder.join("book.toml"), SETTINGS)?)
}

fn copy_pictures(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for picture in std::fs::read_dir(from)? {
        let picture = picture?;
        std::fs::copy(picture.path(), to.join(picture.file_name()))?;
    }
    Ok(())
}

/// The pages of each part, as git lists them; a page is in the first part that names it.
fn parts(root: &Path) -> Result<Vec<(&'static str, Vec<String>)>> {
    let listed = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "*.md"])
        .output()?;
    ensure!(listed.status.success(), "git ls-files failed");
    let listed = String::from_utf8(listed.stdout)?;
    let mut left: Vec<&str> = listed
        .lines()
        .filter(|page| !page.starts_with("docs/runner/"))
        .collect();
    let mut parts = Vec::new();
    for (part, names) in PARTS {
        let mut pages = Vec::new();
        for name in names {
            let (found, others): (Vec<&str>, Vec<&str>) =
                left.iter().partition(|page| is_of(page, name));
            pages.extend(found.into_iter().map(str::to_owned));
            left = others;
        }
        parts.push((part, pages));
    }
    Ok(parts)
}

/// Whether a page is that file, or in that folder itself.
fn is_of(page: &str, name: &str) -> bool {
    let in_folder = |rest: &str| name.ends_with('/') && !rest.contains('/');
    page == name || page.strip_prefix(name).is_some_and(in_folder)
}

/// Where a page is in the book. Its README is not the first page, which mdBook would make of the name.
fn place(page: &str) -> PathBuf {
    match page {
        "README.md" => PathBuf::from("see-it.md"),
        page => PathBuf::from(page.strip_prefix("docs/").unwrap_or(page)),
    }
}

/// A page for mdBook: its links, and no words behind the language of a block.
fn rewritten(text: &str, page: &str, places: &BTreeMap<&String, PathBuf>) -> Result<String> {
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                let Some(new) = link(&dest_url, page, places) else {
                    continue;
                };
                let at = text[range.clone()].rfind(&format!("({dest_url}"));
                let at =
                    at.with_context(|| format!("{page}: a link of an unknown form, {dest_url}"))?;
                let begin = range.start + at + 1;
                edits.push((begin..begin + dest_url.len(), new));
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) if info.contains(' ') => {
                let at = text[range.clone()]
                    .find(&*info)
                    .context("a fence has its info")?;
                let begin = range.start + at;
                let language = info.split(' ').next().unwrap_or_default().to_owned();
                edits.push((begin..begin + info.len(), language));
            }
            _ => {}
        }
    }
    let mut rewritten = text.to_owned();
    edits.sort_by_key(|(range, _)| range.start);
    for (range, new) in edits.into_iter().rev() {
        rewritten.replace_range(range, &new);
    }
    Ok(rewritten)
}

/// The link in the book, if it differs.
fn link(target: &str, page: &str, places: &BTreeMap<&String, PathBuf>) -> Option<String> {
    if target.starts_with('#') || target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, format!("#{anchor}")),
        None => (target, String::new()),
    };
    let path = flat(&Path::new(page).parent()?.join(path));
    let from = places.get(&page.to_owned())?;
    let up = "../".repeat(from.components().count() - 1);
    Some(match places.get(&path) {
        Some(place) => format!("{up}{}{anchor}", place.display()),
        None if path.starts_with(PICTURES) => {
            format!("{up}{}", path.trim_start_matches("docs/"))
        }
        None => format!("{PUBLIC}/blob/main/{path}{anchor}"),
    })
}

/// The path without `..`.
fn flat(path: &Path) -> String {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(part) => parts.push(part.display().to_string()),
            _ => {}
        }
    }
    parts.join("/")
}

/// The trace of the page as a picture beside it, and the lines that show it below the text. Empty if the page showed none.
fn diagram(page: &str, ran: &[PageReport], target: &Path) -> Result<String> {
    let report = ran.iter().find(|report| report.path == Path::new(page));
    let Some(document) = report.and_then(|report| report.trace.as_ref()) else {
        return Ok(String::new());
    };
    let trace = Trace::from_otlp_pages([&document[..]])?;
    let picture = target.with_extension("svg");
    std::fs::write(&picture, explorer::diagram::svg(&trace))?;
    let name = picture.file_name().unwrap_or_default().display();
    let text = format!("The trace of this page, {} spans", trace.spans.len());
    Ok(format!(
        "\n*{text}, drawn from what the last run sent:*\n\n![{text}]({name})\n"
    ))
}

fn last_run(page: &str, ran: &[PageReport], commit: &str) -> String {
    let Some(report) = ran.iter().find(|report| report.path == Path::new(page)) else {
        return String::new();
    };
    if !matches!(report.outcome, Outcome::Passed) || report.took.is_zero() {
        return String::new();
    }
    let date = jiff::Zoned::now().strftime("%Y-%m-%d").to_string();
    let (blocks, outputs) = (report.ran + report.written, report.compared);
    format!("*Last run: commit {commit}, {date}, {blocks} blocks, {outputs} outputs compared.*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_in_the_book_or_go_to_the_repository() {
        let pages = ["README.md", "docs/tutorial/02.md", "docs/clients.md"].map(str::to_owned);
        let places: BTreeMap<_, _> = pages.iter().map(|page| (page, place(page))).collect();
        let text = "See [a](../clients.md#curl), [b](../../README.md), [c](../../gateway/src/lib.rs), [d](https://x.example).\n\n```sh background until=x\n```\n";
        let rewritten = rewritten(text, "docs/tutorial/02.md", &places).unwrap();
        assert_eq!(
            rewritten,
            "See [a](../clients.md#curl), [b](../see-it.md), [c](https://github.com/throughline/throughline/blob/main/gateway/src/lib.rs), [d](https://x.example).\n\n```sh\n```\n"
        );
        let from_root = |target| link(target, "README.md", &places).unwrap();
        assert_eq!(from_root("docs/clients.md"), "clients.md");
        assert_eq!(from_root("docs/screenshots/map.png"), "screenshots/map.png");
    }
}
