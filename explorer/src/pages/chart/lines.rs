//! Lines over time or over epochs.

use maud::{Markup, html};

use super::super::format;
use super::axis::{self, Unit, number};
use super::coordinate;

/// Lines of one chart: as many as there are dash patterns that a reader can tell apart.
pub(in super::super) const MAX_LINES: usize = 8;

/// One line.
pub(in super::super) struct Line {
    pub name: String,
    /// x and y, by x.
    pub points: Vec<(f64, f64)>,
}

/// A chart with its labels.
pub(in super::super) struct LineChart<'a> {
    /// Says what it shows.
    pub label: &'a str,
    /// A name for it that no other chart of the page has.
    pub key: &'a str,
    pub lines: &'a [Line],
    pub unit: Unit,
    /// What x is: nanoseconds since 1970 if it is empty.
    pub x_name: &'a str,
    /// A horizontal line with its name.
    pub limit: Option<(f64, &'a str)>,
}

pub(in super::super) fn line_chart(chart: &LineChart<'_>) -> Markup {
    let lines = &chart.lines[..chart.lines.len().min(MAX_LINES)];
    let points = || lines.iter().flat_map(|line| &line.points);
    if points().next().is_none() {
        return html! { p.soft { "No point yet." } };
    }
    let limit = chart.limit.map(|(limit, _)| limit);
    let (low, high) = axis::ends(points().map(|(_, y)| *y).chain(limit));
    let first = points().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
    let last = points().map(|(x, _)| *x).fold(f64::NEG_INFINITY, f64::max);
    let x = |value: f64| 100.0 * (value - first) / (last - first).max(f64::MIN_POSITIVE);
    let y = |value: f64| 100.0 - 100.0 * (value - low) / (high - low);
    html! {
        figure.chart {
            @if lines.len() > 1 || chart.limit.is_some() { (legend(lines, chart.limit)) }
            div.plot {
                div.y-axis aria-hidden="true" {
                    @for tick in [high, f64::midpoint(low, high), low] { span { (number(tick, chart.unit)) } }
                }
                svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label=(chart.label) {
                    path.grid d="M0 0H100M0 50H100M0 100H100" {}
                    @if let Some(limit) = limit {
                        path.limit d=(format!("M0 {}H100", coordinate(y(limit)))) {}
                    }
                    @for (at, line) in lines.iter().enumerate() {
                        path.line.(format!("line-{at}")) d=(path(&line.points, x, y)) {}
                    }
                }
            }
            div.x-axis aria-hidden="true" {
                @for value in [first, last] { span { (x_label(chart, value)) } }
            }
            (numbers(chart, lines))
        }
    }
}

/// A single point is a dot: a line of no length with round ends.
fn path(points: &[(f64, f64)], x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    for (at, point) in points.iter().enumerate() {
        let letter = if at == 0 { 'M' } else { 'L' };
        path.push(letter);
        path.push_str(&coordinate(x(point.0)));
        path.push(' ');
        path.push_str(&coordinate(y(point.1)));
    }
    if points.len() == 1 {
        path.push_str("h0");
    }
    path
}

fn x_label(chart: &LineChart<'_>, value: f64) -> Markup {
    if chart.x_name.is_empty() {
        format::time(value as u64)
    } else {
        html! { (chart.x_name) " " (value) }
    }
}

fn legend(lines: &[Line], limit: Option<(f64, &str)>) -> Markup {
    html! {
        ul.legend {
            @for (at, line) in lines.iter().enumerate() {
                li {
                    svg width="26" height="10" aria-hidden="true" { path.line.(format!("line-{at}")) d="M1 5H25" {} }
                    (line.name)
                }
            }
            @if let Some((_, name)) = limit {
                li {
                    svg width="26" height="10" aria-hidden="true" { path.limit d="M1 5H25" {} }
                    (name)
                }
            }
        }
    }
}

fn numbers(chart: &LineChart<'_>, lines: &[Line]) -> Markup {
    let x_name = if chart.x_name.is_empty() {
        "time"
    } else {
        chart.x_name
    };
    let mut xs: Vec<f64> = lines
        .iter()
        .flat_map(|line| line.points.iter().map(|(x, _)| *x))
        .collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    html! {
        details.numbers data-key=(chart.key) {
            summary { "Numbers" }
            div.scroll tabindex="0" role="region" aria-label=(chart.label) {
                table {
                    caption.hidden { (chart.label) }
                    thead { tr {
                        th scope="col" { (x_name) }
                        @for line in lines { th scope="col" .num { (line.name) } }
                    } }
                    tbody { @for x in xs.iter().rev() { tr {
                        td { @if chart.x_name.is_empty() { (format::time(*x as u64)) } @else { (x) } }
                        @for line in lines { td.num { (value_at(line, *x, chart.unit)) } }
                    } } }
                }
            }
        }
    }
}

fn value_at(line: &Line, x: f64, unit: Unit) -> String {
    let found = line.points.iter().find(|(at, _)| at.total_cmp(&x).is_eq());
    found.map_or_else(|| "–".to_owned(), |(_, y)| number(*y, unit))
}
