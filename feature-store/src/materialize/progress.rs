//! Shows the progress: one line that changes on a terminal, a line every few seconds elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::mark::Mark;

/// Prints how many rows are done.
pub(super) struct Progress {
    view: String,
    size: Option<u64>,
    /// Rows of earlier runs, which do not count for the rate.
    before: u64,
    begun: Instant,
    printed: Instant,
    output: Output,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Output {
    Nowhere,
    Terminal,
    Lines,
}

impl Progress {
    pub(super) fn new(view: &str, size: Option<u64>, mark: Option<&Mark>) -> Self {
        let output = if io::stderr().is_terminal() {
            Output::Terminal
        } else {
            Output::Lines
        };
        let before = mark.map_or(0, |mark| mark.written + mark.outdated + mark.refused);
        Self {
            view: view.to_owned(),
            size,
            before,
            begun: Instant::now(),
            printed: Instant::now(),
            output,
        }
    }

    /// Prints nothing.
    pub(super) fn none() -> Self {
        let (size, before, output) = (None, 0, Output::Nowhere);
        Self {
            view: String::new(),
            size,
            before,
            begun: Instant::now(),
            printed: Instant::now(),
            output,
        }
    }

    /// Prints how many rows are done, unless it has just been printed. `offset` is the number of
    /// bytes that they take.
    pub(super) fn update(&mut self, rows: u64, offset: u64) {
        let pause = match self.output {
            Output::Nowhere => return,
            Output::Terminal => Duration::from_millis(100),
            Output::Lines => Duration::from_secs(5),
        };
        if self.printed.elapsed() < pause {
            return;
        }
        self.printed = Instant::now();
        let text = self.text(rows, offset, self.begun.elapsed());
        // A closed standard error is ignored: the rows matter.
        let _ = match self.output {
            Output::Terminal => write!(io::stderr(), "\r\x1b[K{text}"),
            _ => writeln!(io::stderr(), "{text}"),
        };
    }

    /// Prints a message of its own, such as that the store does not answer.
    pub(super) fn note(&self, text: &str) {
        let view = &self.view;
        let _ = match self.output {
            Output::Nowhere => return,
            Output::Terminal => writeln!(io::stderr(), "\r\x1b[K{view}: {text}"),
            Output::Lines => writeln!(io::stderr(), "{view}: {text}"),
        };
    }

    /// Clears the line for the output that follows.
    pub(super) fn end(&self) {
        if self.output == Output::Terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn text(&self, rows: u64, offset: u64, elapsed: Duration) -> String {
        let rate = rows.saturating_sub(self.before) as f64 / elapsed.as_secs_f64().max(0.001);
        let percent = match self.size {
            Some(size) if size > 0 => {
                format!(", {} %", offset.min(size).saturating_mul(100) / size)
            }
            _ => String::new(),
        };
        format!("{}: {rows} rows, {rate:.0} rows/s{percent}", self.view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_rate_and_percent_are_shown() {
        let mark = Mark {
            written: 900,
            outdated: 90,
            refused: 10,
            ..Mark::default()
        };
        let progress = Progress::new("wines", Some(4_000), Some(&mark));
        let second = Duration::from_secs(2);
        assert_eq!(
            progress.text(3_000, 3_000, second),
            "wines: 3000 rows, 1000 rows/s, 75 %"
        );
        assert_eq!(
            Progress::new("wines", None, None).text(10, 99, second),
            "wines: 10 rows, 5 rows/s"
        );
    }
}
