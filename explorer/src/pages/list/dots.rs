//! The duration of each trace over the time of its start, as dots. A failed trace is a cross, so
//! that colour is not all that tells.

use std::collections::HashSet;

use maud::{Markup, html};

use super::{View, address};
use crate::difference::Selection;
use crate::pages::format;

/// Dots closer than this look like one, and one is drawn.
const CELLS: (f64, f64) = (400.0, 80.0);
/// Dots of one drawing; of more, every second, third, … is left out.
const MAX_DOTS: usize = 1_200;
/// Part of the drawing that stays free at each edge.
const MARGIN: f64 = 0.03;

/// The ranges of both axes, in nanoseconds; durations are on a logarithmic scale.
struct Scale {
    from: u64,
    to: u64,
    shortest: f64,
    longest: f64,
}

pub(super) fn draw(view: &View<'_>) -> Markup {
    let scale = Scale::of(view);
    let (fine, failed) = marks(view, &scale);
    let label = format!(
        "Duration of {} over time, {} failed",
        format::count(view.matching.len(), "trace"),
        view.matching.iter().filter(|trace| trace.failed).count()
    );
    html! {
        figure.dots {
            svg #dots role="img" aria-label=(label) data-from=(scale.from / 1_000_000) data-to=(scale.to.div_ceil(1_000_000))
                data-shortest=(scale.shortest / 1e6) data-longest=(scale.longest / 1e6) data-margin=(MARGIN) {
                defs { path #cross d="M-4-4L4 4M-4 4L4-4" {} }
                @for tick in scale.ticks() {
                    @let y = scale.y(tick);
                    line.tick x1="0" x2="100%" y1=(y) y2=(y) {}
                    text.tick x="4" y=(y) dy="-3" { (format::duration(tick as u64)) }
                }
                @if let Some(Selection::Rectangle { from, to, min, max }) = view.selection {
                    (rectangle(&scale, (*from, *to), (*min, *max)))
                }
                @for (x, y) in fine { circle.fine cx=(x) cy=(y) r="3" {} }
                @for (x, y) in failed { use.failed href="#cross" x=(x) y=(y) {} }
                rect #drag .chosen width="0" height="0" {}
            }
            figcaption {
                (format::time(scale.from))
                span.key { span.fine { "●" } " ok  " span.bad { "✗" } " failed; height is the duration, on a logarithmic scale" span data-script hidden { "; drag to select" } }
                (format::time(scale.to))
            }
        }
    }
}

type Place = (String, String);

/// Where the dots of good and of failed traces are.
fn marks(view: &View<'_>, scale: &Scale) -> (Vec<Place>, Vec<Place>) {
    let mut taken = HashSet::new();
    let mut marks: Vec<(bool, f64, f64)> = Vec::new();
    for trace in view.matching {
        let (x, y) = (
            scale.part_x(trace.start),
            scale.part_y(trace.duration() as f64),
        );
        let cell = ((x * CELLS.0) as i32, (y * CELLS.1) as i32, trace.failed);
        if taken.insert(cell) {
            marks.push((trace.failed, x, y));
        }
    }
    let step = marks.len().div_ceil(MAX_DOTS).max(1);
    let (mut fine, mut failed) = (Vec::new(), Vec::new());
    for (is_failed, x, y) in marks.into_iter().step_by(step) {
        let place = (short(x), short(y));
        if is_failed {
            failed.push(place);
        } else {
            fine.push(place);
        }
    }
    (fine, failed)
}

fn rectangle(scale: &Scale, (from, to): (u64, u64), (min, max): (u64, u64)) -> Markup {
    let (left, right) = (scale.part_x(from), scale.part_x(to));
    let (top, bottom) = (scale.part_y(max as f64), scale.part_y(min as f64));
    html! {
        rect.chosen x=(short(left)) y=(short(top)) width=(short((right - left).max(0.0))) height=(short((bottom - top).max(0.0))) {}
    }
}

impl Scale {
    fn of(view: &View<'_>) -> Scale {
        let starts = || view.matching.iter().map(|trace| trace.start);
        // A millisecond on either side, so that one trace has a scale, too.
        let from = starts().min().unwrap_or_default().saturating_sub(1_000_000);
        let to = starts().max().unwrap_or_default().saturating_add(1_000_000);
        let durations = || {
            view.matching
                .iter()
                .map(|trace| trace.duration().max(1_000) as f64)
        };
        Scale {
            from,
            to,
            shortest: durations().fold(f64::INFINITY, f64::min) * 0.8,
            longest: durations().fold(0.0, f64::max) * 1.25,
        }
    }

    /// The powers of ten within the range.
    fn ticks(&self) -> Vec<f64> {
        let first = self.shortest.log10().ceil() as i32;
        let last = self.longest.log10().floor() as i32;
        (first..=last).map(|power| 10_f64.powi(power)).collect()
    }

    fn part_x(&self, time: u64) -> f64 {
        let time = time.clamp(self.from, self.to);
        inset((time - self.from) as f64 / (self.to - self.from) as f64)
    }

    fn part_y(&self, duration: f64) -> f64 {
        let duration = duration.clamp(self.shortest, self.longest);
        inset(1.0 - (duration / self.shortest).ln() / (self.longest / self.shortest).ln())
    }

    fn y(&self, duration: f64) -> String {
        short(self.part_y(duration))
    }
}

fn inset(part: f64) -> f64 {
    MARGIN + part * (1.0 - 2.0 * MARGIN)
}

/// A percentage in as few characters as the eye needs.
fn short(part: f64) -> String {
    format!("{:.1}%", part * 100.0)
}

/// The address without the selection.
pub(super) fn without_selection(view: &View<'_>) -> String {
    let names = ["compare", "from", "to", "min", "max"];
    address(view.parameters, &names.map(|name| (name, None)))
}
