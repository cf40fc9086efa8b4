//! Bars: a histogram, a list of named lengths, and bars that are split.

use maud::{Markup, html};

use super::super::format::percent;
use super::{coordinate, numbers};

/// A histogram with equal bins from `low` to `high`.
pub(in super::super) fn histogram(
    label: &str,
    key: &str,
    counts: &[u64],
    (low, high): (f64, f64),
) -> Markup {
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let width = 100.0 / counts.len().max(1) as f64;
    let end = |at: usize| low + (high - low) * at as f64 / counts.len().max(1) as f64;
    let rows: Vec<Vec<String>> = counts
        .iter()
        .enumerate()
        .map(|(at, count)| {
            let range = format!("{:.2}–{:.2}", end(at), end(at + 1));
            vec![range, count.to_string()]
        })
        .collect();
    html! {
        figure.chart.small {
            div.plot {
                div.y-axis aria-hidden="true" { span { (most) } span { "0" } }
                svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label=(label) {
                    path.grid d="M0 0H100M0 100H100" {}
                    @for (at, count) in counts.iter().enumerate() {
                        @let height = 100.0 * *count as f64 / most;
                        rect.fill x=(coordinate(width * at as f64 + width * 0.06)) width=(coordinate(width * 0.88))
                            y=(coordinate(100.0 - height)) height=(coordinate(height)) {}
                    }
                }
            }
            div.x-axis aria-hidden="true" { span { (low) } span { (high) } }
            (numbers(key, label, &["from–to", "count"], &rows))
        }
    }
}

/// A bar beside its text: a share of the whole width.
pub(in super::super) fn bars(share: f64) -> Markup {
    html! { svg.bar-line aria-hidden="true" { rect.fill width=(percent(share)) height="100%" {} } }
}

/// A part of a split bar.
pub(in super::super) struct Part {
    /// A class of the style sheet.
    pub class: &'static str,
    /// Of the whole width.
    pub share: f64,
}

/// A bar of several parts, from the left.
pub(in super::super) fn split(parts: &[Part]) -> Markup {
    let mut from = 0.0;
    html! {
        svg.bar-line aria-hidden="true" {
            @for part in parts {
                rect.(part.class) x=(percent(from)) width=(percent(part.share)) height="100%" {}
                @let () = from += part.share;
            }
        }
    }
}
