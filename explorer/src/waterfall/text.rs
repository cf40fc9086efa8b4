//! Text that is safe and measurable on a terminal, and times that people read.

use unicode_width::UnicodeWidthStr;

/// Characters of a name that are looked at; no terminal shows more.
const LONGEST: usize = 1_000;

/// Makes foreign text harmless: control characters could move the cursor or recolour the terminal, and marks of writing
/// direction could turn the rest of the line around.
pub(crate) fn clean(text: &str) -> String {
    let clean = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '\u{fffd}',
        c => c,
    };
    text.chars().take(LONGEST).map(clean).collect()
}

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most `columns`, with `…` where it was cut.
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
        // Measured whole: the width of a text is not always the sum of its characters.
        if width(&cut) >= columns {
            cut.pop();
            break;
        }
    }
    cut.push('…');
    cut
}

/// Three digits and a unit, at most seven columns: `850 ns`, `12.3 µs`, `1.50 ms`, `2.00 s`, `3m 20s`, `213503d`.
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
    // A unit is left for the next one where rounding would show four digits.
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
