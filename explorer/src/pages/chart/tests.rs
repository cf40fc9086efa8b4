//! Charts stay in their box whatever the values are, and have their numbers as text.

use super::*;

fn line(points: &[(f64, f64)]) -> Line {
    Line {
        name: "<one>".to_owned(),
        points: points.to_vec(),
    }
}

fn chart(points: &[(f64, f64)]) -> String {
    let lines = [line(points)];
    let chart = LineChart {
        label: "loss by epoch",
        key: "loss",
        lines: &lines,
        unit: Unit::Plain,
        x_name: "epoch",
        limit: Some((0.5, "baseline")),
    };
    line_chart(&chart).into_string()
}

#[test]
fn a_line_goes_from_corner_to_corner_and_its_numbers_are_a_table() {
    let markup = chart(&[(1.0, 1.0), (2.0, 0.5), (3.0, 0.0)]);
    assert!(
        markup.contains("d=\"M0.00 0.00L50.00 50.00L100.00 100.00\""),
        "{markup}"
    );
    assert!(markup.contains("d=\"M0 50.00H100\""), "{markup}");
    assert!(markup.contains("aria-label=\"loss by epoch\""), "{markup}");
    assert!(
        markup.contains("<td>2</td><td class=\"num\">0.500</td>"),
        "{markup}"
    );
    assert!(
        markup.contains("&lt;one&gt;") && !markup.contains("<one>"),
        "{markup}"
    );
}

#[test]
fn odd_values_leave_no_nan_in_the_drawing() {
    for points in [
        vec![(1.0, 7.0)],
        vec![(1.0, 0.0), (1.0, 0.0)],
        vec![(0.0, -3.0), (1.0, 4.0)],
        vec![(0.0, f64::MAX), (1.0, f64::MIN)],
        vec![(0.0, 1e-300), (1.0, 2e-300)],
    ] {
        let markup = chart(&points);
        let drawing = markup.split("<details").next().unwrap();
        assert!(
            !drawing.contains("NaN") && !drawing.contains("inf\""),
            "{markup}"
        );
    }
    assert!(!chart(&[(0.0, 1.0), (1.0, 2.0)]).contains("<span>-0"));
    assert!(chart(&[]).contains("No point yet"));
}

#[test]
fn a_histogram_has_a_bar_for_each_bin_and_a_strip_a_cell_for_each_count() {
    let markup = histogram("confidence", "c", &[0, 5, 10], (0.0, 1.0)).into_string();
    assert_eq!(markup.matches("<rect").count(), 3);
    assert!(markup.contains("<td>0.67–1.00</td><td>10</td>"), "{markup}");
    let columns: [&[u64]; 2] = [&[0, 4], &[1, 0]];
    let markup = heat("latency", &columns, &[0.1], Unit::Seconds).into_string();
    assert_eq!(markup.matches("<rect").count(), 2);
    assert!(
        markup.contains("heat-6") && markup.contains("heat-3"),
        "{markup}"
    );
}

#[test]
fn numbers_are_in_their_unit() {
    for (value, unit, text) in [
        (0.0123, Unit::Seconds, "12.3 ms"),
        (2_097_152.0, Unit::Bytes, "2 MiB"),
        (0.756, Unit::Share, "75.6 %"),
        (12.34, Unit::PerSecond, "12.3/s"),
        (0.000_012, Unit::Plain, "1.20e-5"),
        (1234.6, Unit::Plain, "1235"),
    ] {
        assert_eq!(number(value, unit), text);
    }
}
