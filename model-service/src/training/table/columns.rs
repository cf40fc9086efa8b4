//! What the columns of a table are: numbers, categories, or of no use.

use std::collections::BTreeSet;

/// What the values of a column are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Number,
    /// The texts in their order.
    Category(Vec<String>),
    /// Of no use, for this reason.
    Ignored(String),
}

/// More different texts than this are free text.
pub(super) const MAX_CATEGORIES: usize = 50;
/// The feature store's limit.
const MAX_NAME: usize = 63;
/// Names with a meaning of their own in the feature store.
const RESERVED: [&str; 2] = ["event_timestamp", "created"];

/// Decides by all values of a column. A value of ten may be no number by mistake.
pub(super) fn kind_of(column: &str, values: &[&str], is_category: bool) -> Kind {
    if RESERVED.contains(&column.to_ascii_lowercase().as_str()) {
        return Kind::Ignored("has a meaning of its own in the feature store".to_owned());
    }
    let present: Vec<&str> = values
        .iter()
        .copied()
        .filter(|value| !value.trim().is_empty())
        .collect();
    let (rows, empty) = (values.len(), values.len() - present.len());
    if empty * 2 > rows {
        return Kind::Ignored(format!("is empty in {empty} of {rows} rows"));
    }
    let texts: BTreeSet<&str> = present.iter().copied().collect();
    if texts.len() == 1 {
        return Kind::Ignored("is the same in every row".to_owned());
    }
    let numbers = present.iter().filter(|value| number(value).is_some());
    let finite = present.iter().filter_map(|value| finite(value));
    if !is_category && numbers.count() * 10 >= present.len() * 9 {
        let bits: BTreeSet<u32> = finite.map(f32::to_bits).collect();
        if bits.len() == 1 {
            return Kind::Ignored("is the same number in every row".to_owned());
        }
        return Kind::Number;
    }
    if texts.len() == present.len() {
        return Kind::Ignored("is another text in every row".to_owned());
    }
    if texts.len() > MAX_CATEGORIES {
        return Kind::Ignored(format!(
            "is free text: {} different texts, and {MAX_CATEGORIES} categories are the most",
            texts.len()
        ));
    }
    Kind::Category(texts.into_iter().map(str::to_owned).collect())
}

/// The value as a number, NaN and the infinities included.
fn number(value: &str) -> Option<f64> {
    value.trim().parse().ok()
}

/// The value as a number that the model can compute with.
pub(super) fn finite(value: &str) -> Option<f32> {
    number(value)
        .map(|number| number as f32)
        .filter(|number| number.is_finite())
}

/// The name of a column in the feature store: letters, digits and underscores, not beginning with a
/// digit. `sepal length (cm)` becomes `sepal_length_cm`.
pub fn feature_name(column: &str) -> String {
    let mut name = String::new();
    for character in column.chars() {
        if character.is_ascii_alphanumeric() {
            name.push(character);
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert_str(0, "n_");
    }
    name.truncate(MAX_NAME);
    let name = name.trim_end_matches('_');
    if name.is_empty() {
        return "column".to_owned();
    }
    name.to_owned()
}
