//! Compares a shown output with the real one: line by line with snapbox, after named placeholders have taken the place of what they
//! stand for.

use std::sync::LazyLock;

use regex::Regex;
use snapbox::filter::{Filter as _, FilterNewlines, NormalizeToExpected};
use snapbox::report::{Palette, write_diff};
use snapbox::{Data, IntoData as _};

use crate::info::Output;

/// The placeholders, and what each stands for.
const PLACEHOLDERS: [(&str, &str); 9] = [
    ("[TRACE_ID]", "[0-9a-f]{32}"),
    ("[SPAN_ID]", "(?:[0-9a-f]{16}|[0-9a-f]{8})"),
    (
        "[TIME]",
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)",
    ),
    ("[DURATION]", r"\d+(?:\.\d+)? ?(?:ns|µs|us|ms|s)"),
    ("[NUMBER]", r"-?\d+(?:[,.]\d+)*(?:[eE][+-]?\d+)?"),
    (
        "[UUID]",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    ),
    ("[PID]", r"\d+"),
    ("[BAR]", "[━╸╺]+"),
    ("[..]", ".*?"),
];

static SPACES: LazyLock<Regex> = LazyLock::new(|| Regex::new(" +").expect("it is a pattern"));

/// The difference, if there is one.
pub(crate) fn difference(shown: &str, printed: &str, mode: Output) -> Option<String> {
    let mut expected = lines(shown, mode.waterfall);
    let mut actual = lines(printed, mode.waterfall);
    if mode.part {
        expected.insert(0, "...".to_owned());
        expected.push("...".to_owned());
    }
    put_placeholders(&mut actual, &expected);
    let expected: Data = text(&expected).into_data();
    let actual = NormalizeToExpected::new()
        .redact()
        .normalize(FilterNewlines.filter(text(&actual).into_data()), &expected);
    if expected == actual {
        return None;
    }
    let mut difference = String::new();
    // It writes into a string.
    let _ = write_diff(
        &mut difference,
        &expected,
        &actual,
        Some(&"the page"),
        Some(&"printed"),
        Palette::plain(),
    );
    Some(difference)
}

/// Puts the text of an expected line in the place of each line that it stands for. The redactions of snapbox itself replace
/// every match in the whole output first, so that a literal 200 beside a `[NUMBER]` would never be found.
fn put_placeholders(actual: &mut [String], expected: &[String]) {
    let patterns: Vec<(&String, Regex)> = expected
        .iter()
        .filter_map(|line| Some((line, pattern(line)?)))
        .collect();
    for line in actual {
        if expected.contains(line) {
            continue;
        }
        if let Some((text, _)) = patterns.iter().find(|(_, pattern)| pattern.is_match(line)) {
            line.clone_from(text);
        }
    }
}

/// What a line with a named placeholder matches. White space there is of any width, since columns move with their values.
fn pattern(line: &str) -> Option<Regex> {
    let named = |(name, _): &(&str, &str)| *name != "[..]" && line.contains(name);
    PLACEHOLDERS.iter().find(|placeholder| named(placeholder))?;
    let mut pattern = regex::escape(line);
    for (name, meaning) in PLACEHOLDERS {
        pattern = pattern.replace(&regex::escape(name), meaning);
    }
    let pattern = SPACES.replace_all(&pattern, r"\s+");
    Regex::new(&format!("^{pattern}$")).ok()
}

fn lines(text: &str, waterfall: bool) -> Vec<String> {
    let text = text.trim_matches('\n');
    let lines = text.lines().map(str::trim_end);
    if waterfall {
        // A span that ends after its root is a matter of times, too.
        let lines = lines.filter(|line| !line.starts_with("⚠ late: "));
        lines.map(steady).collect()
    } else {
        lines.map(str::to_owned).collect()
    }
}

/// A line of a waterfall without what differs from run to run: ids, times, and the bar with the space around it. The tree before
/// the bar stays as it is.
fn steady(line: &str) -> String {
    static STEPS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let steps = [
            (r"\b[0-9a-f]{32}\b", "[TRACE_ID]"),
            (r"\b[0-9a-f]{8}/[0-9a-f]{8}\b", "[SPAN_ID]/[SPAN_ID]"),
            (r"\b[0-9a-f]{16}\b", "[SPAN_ID]"),
            (r"\b\d+(?:\.\d+)? ?(?:ns|µs|us|ms|s)\b", "[DURATION]"),
            (r"\s*[━╸╺]+\s*", " "),
            // The scale above the bars.
            (r"\s+0\s+\[DURATION\]$", " 0 [DURATION]"),
            (r"\[DURATION\]\s+", "[DURATION] "),
        ];
        steps
            .map(|(pattern, text)| (Regex::new(pattern).expect("it is a pattern"), text))
            .into()
    });
    let mut steady = line.to_owned();
    for (pattern, text) in STEPS.iter() {
        steady = pattern.replace_all(&steady, *text).into_owned();
    }
    steady.trim_end().to_owned()
}

fn text(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Output = Output {
        waterfall: false,
        part: false,
    };

    #[test]
    fn placeholders_stand_for_values_of_their_kind() {
        let shown = "trace [TRACE_ID]  [DURATION]\nstatus 200, [NUMBER] wines\n...\nend [..]\n";
        let printed = "trace 8b12aa721d85813076d9e1302dad59db   2.70 ms\nstatus 200, 1,599 wines\na\nb\nend of it\n";
        assert_eq!(difference(shown, printed, PLAIN), None);
        let other = printed.replace("200", "404");
        let found = difference(shown, &other, PLAIN).unwrap();
        assert!(found.contains("404"), "{found}");
        assert!(difference(shown, &printed.replace("2.70 ms", "soon"), PLAIN).is_some());
    }

    #[test]
    fn a_waterfall_is_its_tree_and_its_details() {
        let shown = "trace 8b12aa721d85813076d9e1302dad59db  2.70 ms · 2 spans · 1 service\nservice  span     0      2.70 ms\ngateway  POST /a  ━━━━━━ 2.70 ms 200 ↗ 8b12aa72/b795131d\ngateway  └─ GET     ╺━╸  344 µs sqlite\n";
        let printed = "trace 4256cda3565089c82917eda34b1d434b  1 s · 2 spans · 1 service\nservice  span     0         1 s\ngateway  POST /a  ━━━━━━━━━ 1 s 200 ↗ 11111111/22222222\ngateway  └─ GET  ━╸  99 ns sqlite\n";
        let waterfall = Output {
            waterfall: true,
            part: false,
        };
        assert_eq!(difference(shown, printed, waterfall), None);
        let late = format!("{printed}⚠ late: GET CLIENT gateway ends 1.50 ms after its root\n");
        assert_eq!(difference(shown, &late, waterfall), None);
        for (old, new) in [("200", "503"), ("└─ GET", "GET"), ("sqlite", "redis")] {
            assert!(difference(shown, &printed.replace(old, new), waterfall).is_some());
        }
    }

    #[test]
    fn a_part_may_have_more_around_it() {
        let part = Output {
            waterfall: false,
            part: true,
        };
        assert_eq!(difference("b\nc\n", "a\nb\nc\nd\n", part), None);
        assert!(difference("b\nd\n", "a\nb\nc\nd\n", part).is_some());
        assert!(difference("b\nc\n", "a\nb\nc\nd\n", PLAIN).is_some());
    }
}
