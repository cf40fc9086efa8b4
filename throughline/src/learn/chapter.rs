//! The chapters: the pages of docs/tutorial, which are part of the program, cut at their headings.

use anyhow::Context;

use super::expectation::Expectation;

/// The pages in the order of reading.
macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        [$((
            concat!("docs/tutorial/", $name, ".md"),
            include_str!(concat!("../../../docs/tutorial/", $name, ".md")),
        )),*]
    };
}

const PAGES: &[(&str, &str)] = &pages![
    "01-two-programs",
    "02-zero-code",
    "03-own-spans",
    "04-across-the-boundary",
    "05-metrics",
    "06-logs",
    "07-prediction-store",
    "08-feature-store",
    "09-inside-the-model",
    "10-canary-and-shadow",
    "11-backends",
    "12-compose-and-kubernetes",
    "13-the-checklist",
];

/// How the comment begins that says what a step leaves in the explorer, as JSON.
const EXPECTATION: &str = "<!-- learn: ";

/// One page.
#[derive(Debug)]
pub(super) struct Chapter {
    /// Where it is in the repository.
    pub(super) page: &'static str,
    pub(super) number: usize,
    /// With the number.
    pub(super) title: String,
    pub(super) introduction: String,
    pub(super) steps: Vec<Step>,
}

/// What is below one heading.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) title: String,
    pub(super) text: String,
    pub(super) expectation: Option<Expectation>,
}

/// All chapters; an error if a page has no title, or an expectation that cannot be read.
pub(super) fn all() -> anyhow::Result<Vec<Chapter>> {
    let chapters = PAGES.iter();
    chapters
        .map(|(page, text)| read(page, text).with_context(|| format!("in {page}")))
        .collect()
}

fn read(page: &'static str, text: &str) -> anyhow::Result<Chapter> {
    let mut sections = sections(text).into_iter();
    let first = sections.next().context("an empty page")?;
    let steps = sections.map(|(title, text)| {
        let step = Step {
            expectation: expectation(&text).with_context(|| format!("below {title}"))?,
            title,
            text: plain(&text),
        };
        anyhow::Ok(step)
    });
    let number = first.0.split('.').next().and_then(|text| text.parse().ok());
    Ok(Chapter {
        page,
        number: number.context("the title has no number")?,
        title: first.0,
        introduction: plain(&first.1),
        steps: steps.collect::<Result<_, _>>()?,
    })
}

/// Titles of the first and second level with the text below each. A line of a code block that
/// begins with `#` is none.
fn sections(text: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        in_block ^= line.starts_with("```");
        let title = line
            .strip_prefix("# ")
            .or_else(|| line.strip_prefix("## "))
            .filter(|_| !in_block);
        match (title, sections.last_mut()) {
            (Some(title), _) => sections.push((title.to_owned(), String::new())),
            (None, Some((_, below))) => {
                below.push_str(line);
                below.push('\n');
            }
            (None, None) => {}
        }
    }
    sections
}

fn expectation(text: &str) -> anyhow::Result<Option<Expectation>> {
    let Some((_, rest)) = text.split_once(EXPECTATION) else {
        return Ok(None);
    };
    let (json, _) = rest.split_once("-->").context("a comment without an end")?;
    Ok(Some(serde_json::from_str(json.trim())?))
}

/// Markdown for a terminal: code is indented, and comments, pictures and the targets of links are left out.
fn plain(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let (mut in_block, mut in_comment) = (false, false);
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
            continue;
        }
        in_comment |= !in_block && line.starts_with("<!--");
        let hidden = in_comment || !in_block && line.starts_with("![");
        in_comment &= !line.ends_with("-->");
        if hidden || line.is_empty() && lines.last().is_none_or(String::is_empty) {
            continue;
        }
        lines.push(if in_block {
            format!("    {line}")
        } else {
            without_links(line)
        });
    }
    lines.join("\n").trim_end().to_owned()
}

/// `[text](target)` becomes `text`.
fn without_links(line: &str) -> String {
    let mut shown = line.to_owned();
    while let Some(middle) = shown.find("](") {
        let (Some(start), Some(end)) = (shown[..middle].rfind('['), shown[middle..].find(')'))
        else {
            break;
        };
        let text = shown[start + 1..middle].to_owned();
        shown.replace_range(start..=middle + end, &text);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# 1. A page\n\n<!-- docs-runner: last run -->\n\nRead [this](a.md), [that](b.md#c).\n\n![A picture](c.png)\n\n## A step\n\n```sh\n# no heading\nls\n```\n\n<!-- learn: {\"span\": \"GET /\",\n\"service\": \"a\", \"hint\": \"b\"} -->\n\n## The end\n";

    #[test]
    fn a_page_is_cut_at_its_headings() -> anyhow::Result<()> {
        let chapter = read("page.md", PAGE)?;
        assert_eq!(chapter.title, "1. A page");
        assert_eq!(chapter.introduction, "Read this, that.");
        let [step, end] = &chapter.steps[..] else {
            panic!("{:?}", chapter.steps);
        };
        assert_eq!(step.text, "    # no heading\n    ls");
        assert!(step.is_checked() && !end.is_checked());
        Ok(())
    }

    #[test]
    fn an_expectation_with_a_mistake_is_named() {
        let wrong = PAGE.replace("service", "servce");
        let error = read("page.md", &wrong).expect_err("a mistake");
        assert_eq!(error.to_string(), "below A step");
    }

    #[test]
    fn every_chapter_can_be_read_and_is_checked_somewhere() -> anyhow::Result<()> {
        // The programs of the first have no telemetry; that of the other goes elsewhere.
        let unchecked = [1, 11];
        for chapter in all()? {
            assert!(!chapter.introduction.is_empty(), "{}", chapter.page);
            let checked = chapter.steps.iter().any(Step::is_checked);
            assert_ne!(
                checked,
                unchecked.contains(&chapter.number),
                "{}",
                chapter.page
            );
        }
        Ok(())
    }

    #[test]
    fn the_chapters_are_the_pages_of_the_tutorial() -> anyhow::Result<()> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tutorial");
        let mut pages: Vec<_> = std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<_>>()?;
        pages.retain(|page| page.starts_with(|first: char| first.is_ascii_digit()));
        pages.sort();
        let chapters = PAGES
            .iter()
            .map(|(page, _)| page.replace("docs/tutorial/", ""));
        assert_eq!(chapters.collect::<Vec<_>>(), pages);
        Ok(())
    }
}
