//! Answers of bounded size: what does not fit is left out, and the answer says so.

use std::fmt::Write as _;

use serde::Serialize;

/// Bytes of one answer, about 6,000 tokens.
pub(super) const MAX_BYTES: usize = 24 * 1024;
/// Characters of one value; a stack or a document may be longer.
pub(super) const MAX_VALUE: usize = 2_000;

/// A JSON value for each line, as many as fit.
pub(super) fn lines<T: Serialize>(
    entries: impl IntoIterator<Item = T>,
    nothing: &str,
) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut left_out = 0;
    for entry in entries {
        let line = shortened(&serde_json::to_string(&entry)?, MAX_BYTES / 4);
        if left_out > 0 || text.len() + line.len() > MAX_BYTES {
            left_out += 1;
            continue;
        }
        text.push_str(&line);
        text.push('\n');
    }
    if text.is_empty() {
        return Ok(nothing.to_owned());
    }
    if left_out > 0 {
        let _ = writeln!(text, "({left_out} more do not fit; ask for fewer)");
    }
    Ok(text)
}

/// A text by lines, as many as fit.
pub(super) fn text(whole: &str) -> String {
    let mut kept = String::new();
    let mut left_out = 0;
    for line in whole.lines() {
        if left_out > 0 || kept.len() + line.len() > MAX_BYTES {
            left_out += 1;
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    if left_out > 0 {
        let _ = writeln!(
            kept,
            "({left_out} more lines do not fit; read_span shows one span)"
        );
    }
    kept
}

/// The first `longest` characters; a text that is cut says how much is missing.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(longest) else {
        return text.to_owned();
    };
    let rest = text[end..].chars().count();
    format!("{}… ({rest} characters more)", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let answer = lines((0..20_000).map(|number| format!("entry {number}")), "none").unwrap();
        assert!(answer.len() < MAX_BYTES + 100);
        assert!(
            answer.ends_with("more do not fit; ask for fewer)\n"),
            "{answer}"
        );
        let whole = "a line of some length\n".repeat(5_000);
        let kept = text(&whole);
        let lines = kept.lines().count() - 1;
        assert!(kept.contains(&format!("({} more lines", 5_000 - lines)));
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        assert_eq!(shortened("äöü", 2), "äö… (1 characters more)");
        assert_eq!(shortened("äöü", 3), "äöü");
    }

    #[test]
    fn nothing_is_said_in_words() {
        assert_eq!(lines(Vec::<u8>::new(), "no traces").unwrap(), "no traces");
    }
}
