//! The rows of the checklist, as a table for people and as JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::screen;

/// How one point of the checklist ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// It could not be judged; the detail says why.
    Skipped,
}

/// One point of the checklist.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// A stable name, such as `trace.complete`.
    check: &'static str,
    /// What it was checked on: a service, a stage, a rule. Empty for the whole system.
    subject: String,
    outcome: Outcome,
    /// What was seen, or the reason.
    detail: String,
    /// What to do about a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl Row {
    pub(crate) fn passed(check: &'static str, detail: impl Into<String>) -> Self {
        Self {
            check,
            subject: String::new(),
            outcome: Outcome::Passed,
            detail: detail.into(),
            remedy: None,
            trace_id: None,
        }
    }

    pub(crate) fn skipped(check: &'static str, reason: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Skipped,
            ..Self::passed(check, reason)
        }
    }

    pub(crate) fn failed(
        check: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            outcome: Outcome::Failed,
            remedy: Some(remedy.into()),
            ..Self::passed(check, detail)
        }
    }

    pub(crate) fn of(self, subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            ..self
        }
    }

    pub(crate) fn with_trace(self, trace_id: impl Into<String>) -> Self {
        Self {
            trace_id: Some(trace_id.into()),
            ..self
        }
    }
}

/// All rows so far. A table is printed row by row, so that a long wait is seen.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            rows: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, row: Row) {
        if !self.json {
            screen::say(line(&row));
        }
        self.rows.push(row);
    }

    /// Prints the JSON, or the last line of the table.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        if self.json {
            screen::say(serde_json::to_string_pretty(&self.rows)?);
        } else {
            let [passed, failed, skipped] =
                [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(|each| self.count(each));
            screen::say(format!(
                "\n{passed} passed, {failed} failed, {skipped} skipped"
            ));
        }
        Ok(())
    }

    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        let rows = self.rows.iter();
        rows.filter(|row| row.outcome == outcome).count()
    }
}

fn line(row: &Row) -> String {
    let (code, word) = match row.outcome {
        Outcome::Passed => ("32", "passed "),
        Outcome::Failed => ("31", "failed "),
        Outcome::Skipped => ("33", "skipped"),
    };
    let mut line = format!(
        "{}  {:<20} {:<35} {}",
        screen::paint(code, word),
        row.check,
        row.subject,
        row.detail
    );
    if let Some(remedy) = &row.remedy {
        let _ = write!(line, "\n         → {remedy}");
    }
    if let Some(trace_id) = &row.trace_id
        && row.outcome == Outcome::Failed
    {
        let _ = write!(line, "\n         trace {trace_id}");
    }
    line
}
