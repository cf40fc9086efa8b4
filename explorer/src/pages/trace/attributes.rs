//! Attributes in groups, with values of bounded length.

use std::cell::Cell;

use maud::{Markup, html};
use serde_json::Value;

use crate::waterfall::text::{clean, fit};

/// Characters of one value; a stack has its own place.
const LONGEST_VALUE: usize = 2_000;
/// Characters of the values of one page. Foreign spans may have more than a reader can use.
const BUDGET: usize = 200_000;

/// The groups in their order, each with the beginnings of its names.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Model", &["ml.", "ai.", "model.", "feature_flag."]),
    (
        "HTTP",
        &[
            "http.",
            "url.",
            "server.",
            "client.",
            "network.",
            "user_agent.",
        ],
    ),
    ("Database", &["db."]),
    ("Other", &[""]),
];

/// How many characters the page may still show of foreign values.
pub(in crate::pages) struct Budget(Cell<usize>);

impl Budget {
    pub(in crate::pages) fn new() -> Budget {
        Budget(Cell::new(BUDGET))
    }

    /// The value, or as much of it as is left.
    pub(super) fn text(&self, value: &Value) -> Markup {
        let text = value_text(value);
        self.plain(&text, LONGEST_VALUE)
    }

    /// At most `longest` characters of a text, with a note if there are more.
    pub(in crate::pages) fn plain(&self, text: &str, longest: usize) -> Markup {
        let shown = longest.min(self.0.get());
        let end = text.char_indices().nth(shown);
        let head = end.map_or(text, |(end, _)| &text[..end]);
        self.0
            .set(self.0.get().saturating_sub(head.chars().count()));
        html! {
            (head)
            @if end.is_some() { " " span.cut { "… cut; the OTLP/JSON has all of it" } }
        }
    }
}

/// Attributes under their headings.
pub(super) fn groups<'a>(
    attributes: impl Iterator<Item = (&'a String, &'a Value)>,
    budget: &Budget,
) -> Markup {
    let mut grouped: [Vec<(&String, &Value)>; GROUPS.len()] = Default::default();
    for (key, value) in attributes {
        let of_key =
            |(_, starts): &(&str, &[&str])| starts.iter().any(|start| key.starts_with(start));
        let group = GROUPS.iter().position(of_key).unwrap_or(GROUPS.len() - 1);
        grouped[group].push((key, value));
    }
    let only_other = grouped[..GROUPS.len() - 1].iter().all(Vec::is_empty);
    html! {
        @for ((title, _), attributes) in GROUPS.iter().zip(grouped) {
            @if !attributes.is_empty() {
                h3 { @if only_other { "Attributes" } @else { (title) } }
                (pairs(attributes.into_iter(), budget))
            }
        }
    }
}

/// A table of names and values.
pub(super) fn pairs<'a>(
    attributes: impl Iterator<Item = (&'a String, &'a Value)>,
    budget: &Budget,
) -> Markup {
    html! {
        table { tbody { @for (key, value) in attributes {
            tr { th scope="row" { (breakable(key)) } td { (budget.text(value)) } }
        } } }
    }
}

/// Lets a dotted name break after its dots.
pub(super) fn breakable(name: &str) -> Markup {
    let name = within(name, 200);
    html! { @for part in name.split_inclusive(['.', '_']) { (part) wbr; } }
}

/// A value as a reader expects it: strings as they are, everything else as JSON.
pub(in crate::pages) fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// One line of at most `columns`, without control characters.
pub(in crate::pages) fn within(text: &str, columns: usize) -> String {
    fit(&clean(text), columns)
}
