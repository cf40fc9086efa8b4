//! A heat strip: one column for each moment, one row for each bucket, darker where more values are.

use maud::{Markup, html};

use super::axis::{Unit, number};
use super::coordinate;

/// Columns and rows of one strip.
const MAX_CELLS: usize = 2_400;
/// Classes of the style sheet, `heat-1` to this one.
const SHADES: f64 = 6.0;

/// `columns` are counts by bucket, the oldest moment first; `bounds` are between the buckets.
pub(in super::super) fn heat(
    label: &str,
    columns: &[&[u64]],
    bounds: &[f64],
    unit: Unit,
) -> Markup {
    let rows = bounds.len() + 1;
    let newest = (MAX_CELLS / rows).min(columns.len());
    let columns = &columns[columns.len() - newest..];
    let most = columns.iter().flat_map(|column| column.iter()).max();
    let most = most.copied().unwrap_or(0).max(1) as f64;
    let (width, height) = (100.0 / columns.len().max(1) as f64, 100.0 / rows as f64);
    html! {
        div.plot.heat {
            div.y-axis aria-hidden="true" {
                @if let Some(high) = bounds.last() { span { "> " (number(*high, unit)) } }
                @if let Some(low) = bounds.first() { span { "≤ " (number(*low, unit)) } }
            }
            svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label=(label) {
                @for (at, column) in columns.iter().enumerate() {
                    @for (row, count) in column.iter().enumerate().filter(|(_, count)| **count > 0) {
                        rect.(shade(*count as f64 / most)) x=(coordinate(width * at as f64))
                            y=(coordinate(100.0 - height * (row + 1) as f64))
                            width=(coordinate(width)) height=(coordinate(height)) {}
                    }
                }
            }
        }
    }
}

/// By the root of the share, since most of the counts are small.
fn shade(share: f64) -> String {
    format!("heat-{}", (share.sqrt() * SHADES).ceil().clamp(1.0, SHADES))
}
