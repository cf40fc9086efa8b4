//! A trace as a picture: an SVG that needs nothing else, for pages that are not the explorer's.

use std::fmt::Write as _;

use crate::trace::{SpanData, SpanStatus, Trace};
use crate::waterfall::text::{clean, duration, fit};

/// All lengths are pixels.
const WIDTH: usize = 960;
const ROW: usize = 20;
const HEAD: usize = 30;
/// Where the bars begin and end.
const BARS: (usize, usize) = (400, 870);
const INDENT: usize = 14;
/// No bar is narrower, however short its span.
const NARROWEST: f64 = 2.0;
/// Characters of a name that fit beside the bars.
const NAME: usize = 48;
/// One for each service, in the order in which they appear; distinct for colour-blind people (Okabe
/// and Ito, <https://jfly.uni-koeln.de/color/>).
const COLOURS: [&str; 6] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00",
];
const FAILED: &str = "#c00000";

/// Draws the whole trace, a row for each span.
pub fn svg(trace: &Trace) -> String {
    let services = trace.services();
    let height = HEAD + ROW * (trace.spans.len() + 1);
    let mut drawing = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>Trace {}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        escaped(&trace.trace_id),
    );
    legend(&mut drawing, &services);
    for (row, span) in trace.spans.iter().enumerate() {
        let service = services
            .iter()
            .position(|service| **service == *span.service);
        let colour = COLOURS[service.unwrap_or_default() % COLOURS.len()];
        draw(&mut drawing, trace, span, HEAD + ROW * (row + 1), colour);
    }
    drawing += "</svg>\n";
    drawing
}

fn legend(drawing: &mut String, services: &[&str]) {
    let mut left = 8;
    for (at, service) in services.iter().enumerate() {
        let (colour, name) = (COLOURS[at % COLOURS.len()], fit(&clean(service), 30));
        let _ = writeln!(
            drawing,
            "<rect x=\"{left}\" y=\"10\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"19\">{}</text>",
            left + 15,
            escaped(&name),
        );
        left += 40 + 7 * name.chars().count();
    }
}

/// A row whose text stands on `base`.
fn draw(drawing: &mut String, trace: &Trace, span: &SpanData, base: usize, colour: &str) {
    let failed = matches!(span.status, SpanStatus::Error(_));
    let indent = (span.depth * INDENT).min(BARS.0 / 2);
    let name = fit(&clean(&span.name), NAME - indent / 7);
    let (mark, ink) = if failed {
        ("✗ ", FAILED)
    } else {
        ("", "#222222")
    };
    let (from, width) = bar(trace, span);
    let took = duration(span.end.saturating_sub(span.start));
    let _ = writeln!(
        drawing,
        "<text x=\"{}\" y=\"{base}\" fill=\"{ink}\">{mark}{}</text>\
         <rect x=\"{from:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"10\" fill=\"{colour}\"/>\
         <text x=\"{}\" y=\"{base}\" text-anchor=\"end\" fill=\"#555555\">{took}</text>",
        8 + indent,
        escaped(&name),
        base - 10,
        WIDTH - 8,
    );
}

/// Left end and width of a bar.
fn bar(trace: &Trace, span: &SpanData) -> (f64, f64) {
    let scale = (BARS.1 - BARS.0) as f64 / trace.duration().max(1) as f64;
    let from = span.start.saturating_sub(trace.start()) as f64 * scale;
    let width = span.end.saturating_sub(span.start) as f64 * scale;
    (BARS.0 as f64 + from, width.max(NARROWEST))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::svg;
    use crate::waterfall::example;

    #[test]
    fn every_span_is_a_row_within_the_picture() {
        let trace = example::miss();
        let drawing = svg(&trace);
        for span in &trace.spans {
            assert!(drawing.contains(&span.name), "no {}", span.name);
        }
        let rows = drawing.matches("text-anchor=\"end\"").count();
        assert_eq!(rows, trace.spans.len());
        let bars = drawing.lines().filter(|line| line.contains("text-anchor"));
        for bar in bars {
            let number = |name: &str| -> f64 {
                let text = bar
                    .split("<rect")
                    .nth(1)
                    .and_then(|rect| rect.split(name).nth(1));
                let text = text.and_then(|rest| rest.split('"').next());
                text.and_then(|text| text.parse().ok()).expect("a number")
            };
            let (from, width) = (number("x=\""), number("width=\""));
            assert!((400.0..=872.0).contains(&(from + width)), "{bar}");
        }
    }

    #[test]
    fn a_hostile_name_is_only_text() {
        let mut trace = example::miss();
        trace.spans[0].name = "</text><script>alert(1)</script>&\u{1b}[2J".to_owned();
        let drawing = svg(&trace);
        assert!(!drawing.contains("<script"), "{drawing}");
        assert!(!drawing.contains('\u{1b}'), "{drawing}");
        assert!(drawing.contains("&lt;script&gt;"), "{drawing}");
    }
}
