//! What ran, what was ignored and why, and what failed: for people, and as JSON for the book.

use std::path::PathBuf;
use std::time::Duration;

use crate::page::Page;

/// All pages.
pub(crate) struct Report {
    pages: Vec<PageReport>,
}

/// One page.
pub(crate) struct PageReport {
    pub(crate) path: PathBuf,
    pub(crate) ran: usize,
    pub(crate) compared: usize,
    pub(crate) written: usize,
    pub(crate) ignored: Vec<Ignored>,
    /// Blocks whose lines another step of `.ci/run` runs
    pub(crate) by_steps: usize,
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
    /// The trace of the first waterfall, as the page's explorer had it (OTLP/JSON).
    pub(crate) trace: Option<Vec<u8>>,
}

/// A block that is not run.
pub(crate) struct Ignored {
    pub(crate) line: usize,
    pub(crate) reason: String,
}

pub(crate) enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

impl Report {
    pub(crate) fn new(pages: Vec<PageReport>) -> Self {
        Self { pages }
    }

    pub(crate) fn pages(&self) -> &[PageReport] {
        &self.pages
    }

    /// Prints it; the answer is whether no page failed.
    pub(crate) fn print(&self) -> bool {
        say("");
        for page in &self.pages {
            say(&page.line());
        }
        for page in &self.pages {
            for ignored in &page.ignored {
                let path = page.path.display();
                say(&format!(
                    "ignored {path}:{}: {}",
                    ignored.line, ignored.reason
                ));
            }
        }
        let mut failed = 0;
        for page in &self.pages {
            if let Outcome::Failed(message) = &page.outcome {
                say(&format!("\n=== {} failed\n{message}", page.path.display()));
                failed += 1;
            }
        }
        let sum = |count: fn(&PageReport) -> usize| self.pages.iter().map(count).sum::<usize>();
        say(&format!(
            "\n{} pages, {failed} failed: {} blocks ran, {} outputs compared, {} run by other steps, {} ignored",
            self.pages.len(),
            sum(|page| page.ran + page.written),
            sum(|page| page.compared),
            sum(|page| page.by_steps),
            sum(|page| page.ignored.len()),
        ));
        failed == 0
    }

    /// For the line "last run" of the book.
    pub(crate) fn json(&self, commit: &str) -> String {
        let pages: Vec<String> = self.pages.iter().map(PageReport::json).collect();
        let pages = pages.join(",\n");
        format!("{{\"commit\": {commit:?}, \"pages\": [\n{pages}\n]}}\n")
    }
}

impl PageReport {
    pub(crate) fn of(page: &Page) -> Self {
        Self {
            path: page.path.clone(),
            ran: 0,
            compared: 0,
            written: 0,
            ignored: page.ignored(),
            by_steps: page.by_steps(),
            took: Duration::ZERO,
            outcome: Outcome::Passed,
            trace: None,
        }
    }

    pub(crate) fn line(&self) -> String {
        let outcome = match &self.outcome {
            Outcome::Passed => "ok".to_owned(),
            Outcome::Skipped(reason) => format!("skipped: {reason}"),
            Outcome::Failed(_) => "FAILED".to_owned(),
        };
        format!(
            "{}: {outcome}: {} blocks ran, {} files written, {} outputs compared, {} ignored, {:.1} s",
            self.path.display(),
            self.ran,
            self.written,
            self.compared,
            self.ignored.len(),
            self.took.as_secs_f64()
        )
    }

    fn json(&self) -> String {
        format!(
            "  {{\"page\": {:?}, \"passed\": {}, \"blocks\": {}, \"outputs\": {}, \"ignored\": {}, \"seconds\": {:.1}}}",
            self.path.display().to_string(),
            matches!(self.outcome, Outcome::Passed),
            self.ran + self.written,
            self.compared,
            self.ignored.len(),
            self.took.as_secs_f64()
        )
    }
}

#[expect(clippy::print_stdout, reason = "it is a command")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}
