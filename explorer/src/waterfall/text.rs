//! Text that is safe on a terminal, its width, and durations for people.

use unicode_width::UnicodeWidthStr;

/// Characters of a text that are kept; no terminal shows more.
const LONGEST: usize = 1_000;

/// Makes foreign text harmless: control characters could move the cursor or recolour the terminal,
/// and direction marks could reverse the rest of the line.
pub(crate) fn clean(text: &str) -> String {
    text.chars().take(LONGEST).map(clean_char).collect()
}

fn clean_char(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '\u{fffd}',
        c => c,
    }
}

/// The width of a text in columns.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most `columns`; a text that is cut ends with `…`.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    if columns == 0 {
        return String::new();
    }
    let mut cut = String::new();
    for c in text.chars() {
        cut.push(c);
        // The width of a text is not always the sum of its characters.
        if width(&cut) >= columns {
            cut.pop();
            break;
        }
    }
    cut.push('…');
    cut
}

/// Three digits and a unit, at most seven columns: `850 ns`, `12.3 µs`, `1.50 ms`, `2.00 s`,
/// `3m 20s`, `213503d`.
pub(crate) fn duration(nanos: u64) -> String {
    const UNITS: [(f64, &str); 4] = [(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")];
    let number = nanos as f64;
    if number >= 99.95e9 {
        let seconds = (number / 1e9).round() as u64;
        return match seconds / 60 {
            minutes @ 0..=99 => format!("{minutes}m {:02}s", seconds % 60),
            minutes @ 100..=5_999 => format!("{}h {:02}m", minutes / 60, minutes % 60),
            minutes => format!("{}d", minutes / 1_440),
        };
    }
    // The next unit is used where rounding would print four digits.
    let (unit, name) = UNITS
        .into_iter()
        .find(|(unit, _)| number / unit < 999.5)
        .unwrap_or(UNITS[3]);
    let value = number / unit;
    match value {
        _ if unit < 2.0 => format!("{value:.0} {name}"),
        value if value < 9.995 => format!("{value:.2} {name}"),
        value if value < 99.95 => format!("{value:.1} {name}"),
        value => format!("{value:.0} {name}"),
    }
}

#[cfg(test)]
mod tests;
