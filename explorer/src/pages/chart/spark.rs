//! A line without axes, beside a number.

use maud::{Markup, html};

use super::axis;
use super::coordinate;

/// The values from the oldest to the newest, with a limit if there is one. The text beside it says
/// what it shows, so that it is hidden from screen readers.
pub(in super::super) fn spark(values: &[f64], limit: Option<f64>) -> Markup {
    if values.is_empty() {
        return Markup::default();
    }
    let (low, high) = axis::ends(values.iter().copied().chain(limit));
    let y = |value: f64| coordinate(96.0 - 92.0 * (value - low) / (high - low));
    let step = 100.0 / (values.len().max(2) - 1) as f64;
    let mut path = String::new();
    for (at, value) in values.iter().enumerate() {
        let letter = if at == 0 { "M" } else { "L" };
        path.push_str(letter);
        path.push_str(&coordinate(step * at as f64));
        path.push(' ');
        path.push_str(&y(*value));
    }
    if values.len() == 1 {
        path.push_str("h0");
    }
    html! {
        svg.spark viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true" {
            @if let Some(limit) = limit { path.limit d=(format!("M0 {}H100", y(limit))) {} }
            path.line.line-0 d=(path) {}
        }
    }
}
