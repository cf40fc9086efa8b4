//! Addresses without their secrets.

/// The text without user, password and query in addresses: `redis://***@host`.
///
/// It knows nothing of the form of an address, since it is used where that is wrong: all between
/// the scheme, or the beginning of the word, and the last `@` of the line is hidden, and all after
/// a `?`.
pub fn without_secrets(text: &str) -> String {
    text.split_inclusive('\n')
        .map(line_without_secrets)
        .collect()
}

fn line_without_secrets(line: &str) -> String {
    let mut shown = line.to_owned();
    if let Some(at) = shown.rfind('@') {
        let start = match shown[..at].find("://") {
            Some(scheme) => scheme + "://".len(),
            None => shown[..at]
                .rfind(|c: char| c.is_whitespace() || "'\"`=".contains(c))
                .map_or(0, |space| space + 1),
        };
        shown.replace_range(start..at, "***");
    }
    let query = shown
        .find("://")
        .and_then(|scheme| Some(scheme + shown[scheme..].find('?')? + 1));
    if let Some(start) = query {
        let end = shown[start..]
            .find(|c: char| c.is_whitespace() || "'\"`".contains(c))
            .map_or(shown.len(), |end| start + end);
        shown.replace_range(start..end, "***");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_an_address_shows_its_secret() {
        for (text, shown) in [
            ("redis://u:hunter2@h:1/0", "redis://***@h:1/0"),
            ("rediss://:hunter2@h", "rediss://***@h"),
            ("redis://hunter2@h", "redis://***@h"),
            ("redis://u:hunt/er2?#@h", "redis://***@h"),
            ("redis://u:hun ter2@h", "redis://***@h"),
            ("redis://u%3Ahunter2@h", "redis://***@h"),
            ("redis://u:a@hunter2@h", "redis://***@h"),
            (
                "redis+cluster://u:hunter2@a,u:hunter2@b",
                "redis+cluster://***@b",
            ),
            ("unix:///s?user=u&pass=hunter2", "unix:///s?***"),
            ("u:hunter2@h:6379", "***@h:6379"),
            (
                "error: unexpected argument 'redis://u:hunter2@h?x=hunter2' found\n\nUsage: x\n",
                "error: unexpected argument 'redis://***@h?***' found\n\nUsage: x\n",
            ),
            (
                "error: '--databse=u:hunter2@h'\n",
                "error: '--databse=***@h'\n",
            ),
            ("redis://h:1/0", "redis://h:1/0"),
            ("what? no address", "what? no address"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }
}
