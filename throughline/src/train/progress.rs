//! The progress of a training on standard error: a bar on a terminal, or lines for a log.

use std::time::{Duration, Instant};

use model_service::training::Epoch;

use super::args::ProgressMode;
use crate::screen;

/// Shows the epochs as they end.
pub(crate) struct Progress {
    style: Style,
    drawn: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Bar,
    Lines,
    Nothing,
}

/// Columns of the bar.
const WIDTH: usize = 24;
/// A terminal need not be written to more often.
const REDRAW: Duration = Duration::from_millis(50);
/// Lines of a whole training.
const LINES: usize = 10;

impl Progress {
    pub(crate) fn new(mode: ProgressMode) -> Self {
        let style = match mode {
            ProgressMode::Plain => Style::Lines,
            ProgressMode::Auto if screen::is_terminal() => Style::Bar,
            ProgressMode::Auto | ProgressMode::None => Style::Nothing,
        };
        Self { style, drawn: None }
    }

    pub(crate) fn show(&mut self, epoch: &Epoch) {
        let is_last = epoch.number == epoch.of;
        match self.style {
            Style::Bar => {
                let fresh = self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW);
                if !fresh || is_last {
                    screen::replace(format!("{} {}", bar(epoch), figures(epoch)));
                    self.drawn = Some(Instant::now());
                }
                if is_last {
                    screen::warn("");
                }
            }
            Style::Lines if is_line(epoch) => screen::warn(figures(epoch)),
            Style::Lines | Style::Nothing => {}
        }
    }
}

/// Whether another tenth of the epochs has ended.
fn is_line(epoch: &Epoch) -> bool {
    let tenths = |number: usize| number * LINES / epoch.of.max(1);
    tenths(epoch.number) > tenths(epoch.number - 1)
}

fn bar(epoch: &Epoch) -> String {
    let done = WIDTH * epoch.number / epoch.of.max(1);
    format!("{}{}", "━".repeat(done), "─".repeat(WIDTH - done))
}

fn figures(epoch: &Epoch) -> String {
    let accuracy = epoch
        .accuracy
        .map_or_else(String::new, |accuracy| format!(", accuracy {accuracy:.3}"));
    format!(
        "epoch {} of {}: loss {:.4}{accuracy}, gradient norm {:.3}, {:.0} rows/s",
        epoch.number, epoch.of, epoch.loss, epoch.gradient_norm, epoch.rows_per_second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(number: usize, of: usize) -> Epoch {
        Epoch {
            number,
            of,
            loss: 0.5,
            gradient_norm: 1.25,
            accuracy: Some(0.75),
            rows_per_second: 1234.5,
        }
    }

    #[test]
    fn a_log_gets_ten_lines_of_a_long_training_and_all_of_a_short_one() {
        let lines = |of: usize| {
            (1..=of)
                .filter(|number| is_line(&epoch(*number, of)))
                .count()
        };
        assert_eq!([lines(100), lines(10), lines(3), lines(1)], [10, 10, 3, 1]);
        assert!(is_line(&epoch(20, 20)), "the last epoch has a line");
    }

    #[test]
    fn the_bar_fills_and_the_figures_say_the_loss() {
        assert_eq!(bar(&epoch(5, 10)).matches('━').count(), WIDTH / 2);
        assert_eq!(bar(&epoch(10, 10)).chars().count(), WIDTH);
        assert_eq!(
            figures(&epoch(5, 10)),
            "epoch 5 of 10: loss 0.5000, accuracy 0.750, gradient norm 1.250, 1234 rows/s"
        );
    }
}
