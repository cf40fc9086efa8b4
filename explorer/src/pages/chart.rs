//! Charts as inline SVG: lines over time or epochs, histograms, heat strips, sparklines, and bars.
//!
//! Geometry is drawn into a box of 100 by 100 that stretches with the page; strokes do not, and
//! labels are HTML beside the box, so that text keeps its size. Every chart has its numbers as a
//! table, and no line is told from another by colour alone: each has a dash pattern of its own.

mod axis;
mod bars;
mod heat;
mod lines;
mod spark;

pub(super) use axis::{Unit, number};
pub(super) use bars::{Part, bars, histogram, split};
pub(super) use heat::heat;
pub(super) use lines::{Line, LineChart, line_chart};
pub(super) use spark::spark;

use maud::{Markup, html};

/// The numbers of a chart, folded: `key` keeps it open while the page is live.
pub(super) fn numbers(key: &str, caption: &str, head: &[&str], rows: &[Vec<String>]) -> Markup {
    html! {
        details.numbers data-key=(key) {
            summary { "Numbers" }
            div.scroll tabindex="0" role="region" aria-label=(caption) {
                table {
                    caption.hidden { (caption) }
                    thead { tr { @for name in head { th scope="col" { (name) } } } }
                    tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
                }
            }
        }
    }
}

/// A coordinate in the box.
fn coordinate(value: f64) -> String {
    format!("{:.2}", value.clamp(-10.0, 110.0))
}

#[cfg(test)]
mod tests;
