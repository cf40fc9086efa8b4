//! The tokens of a Rust file, as far as its paths need them.

/// Words, `::` and single marks of a Rust file, without comments, texts and characters.
pub(super) fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, length) = if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|mark: char| !mark.is_alphanumeric() && mark != '_');
            let length = length.unwrap_or(rest.len());
            match raw_text(rest, length) {
                Some(length) => (false, length),
                None => (true, length),
            }
        } else if let Some(length) = skipped(rest) {
            (false, length)
        } else if rest.starts_with("::") {
            (true, 2)
        } else {
            (!first.is_whitespace(), first.len_utf8())
        };
        if token {
            tokens.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    tokens
}

/// The length of a raw text such as `r#"…"#` that begins with a word of this length.
fn raw_text(rest: &str, word: usize) -> Option<usize> {
    if !matches!(&rest[..word], "r" | "br") {
        return None;
    }
    let marks = rest[word..].find(|mark| mark != '#')?;
    let begin = word + marks + 1;
    if !rest[word + marks..].starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(marks));
    Some(begin + rest[begin..].find(&end)? + end.len())
}

/// The length of a comment, a text or a character at the beginning.
fn skipped(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    let quote = rest
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''))?;
    let mut escaped = false;
    for (index, mark) in rest.char_indices().skip(1) {
        // A lifetime has no second quote: 'a is a word, '\n' and 'a' are characters.
        if quote == '\'' && index > 1 && !rest[1..].starts_with('\\') && mark != '\'' {
            return Some(1);
        }
        match mark {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if mark == quote => return Some(index + 1),
            _ => {}
        }
    }
    None
}
