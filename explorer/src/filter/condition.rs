//! A condition on an attribute, as people write it: `ml.output.label is low`.

use crate::span_view::ValueView;

/// What an attribute of a trace must be.
///
/// It is met if one span, one of its events or its resource has such a value; with `negated`, if
/// none has, which is also the case if the attribute is nowhere.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    pub key: String,
    pub negated: bool,
    pub wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// The text, and the number if it is one: `5` is also 5.0.
    Is(String, Option<f64>),
    /// Upper and lower case of ASCII letters are the same.
    Contains(String),
    Above(f64),
    Below(f64),
}

/// The words between key and value, the longer ones first, since `is not` also begins with `is`.
const OPERATORS: [&str; 6] = ["is not", "does not contain", "contains", "is", ">", "<"];

impl Condition {
    /// `key is text`.
    pub(crate) fn is(key: &str, value: &str) -> Condition {
        Condition {
            key: key.to_owned(),
            negated: false,
            wanted: Wanted::Is(value.to_owned(), value.parse().ok()),
        }
    }

    /// Reads `KEY OPERATOR VALUE`. Key and value may be JSON strings, which can hold anything.
    pub(crate) fn parse(text: &str) -> Result<Condition, String> {
        let usage = || {
            format!(
                "{text:?} is no condition: write KEY OPERATOR VALUE, for example \
                 \"ml.output.label is low\"; the operators are is, is not, contains, \
                 does not contain, > and <"
            )
        };
        let (key, rest) = first_word(text.trim()).ok_or_else(usage)?;
        let (operator, value) = operator(rest).ok_or_else(usage)?;
        if value.is_empty() {
            return Err(format!(
                "{text:?} has no value after {operator:?}; write \"\" for an empty text"
            ));
        }
        let value = match value.strip_prefix('"') {
            Some(_) => serde_json::from_str(value)
                .map_err(|_| format!("the value of {text:?} is not one JSON string"))?,
            None => value.to_owned(),
        };
        let wanted = wanted(operator, value).map_err(|value| {
            format!("{value:?} in {text:?} is no number; {operator} compares numbers")
        })?;
        Ok(Condition {
            key,
            negated: operator.contains("not"),
            wanted,
        })
    }

    pub(crate) fn is_met_by(&self, value: &ValueView<'_>) -> bool {
        match &self.wanted {
            Wanted::Is(_, Some(number)) if value.number() == Some(*number) => true,
            Wanted::Is(text, _) => value.text() == text.as_str(),
            Wanted::Contains(part) => is_within(part, &value.text()),
            Wanted::Above(bound) => number(value).is_some_and(|number| number > *bound),
            Wanted::Below(bound) => number(value).is_some_and(|number| number < *bound),
        }
    }
}

/// Whether `part` occurs in `text`; the case of ASCII letters does not matter.
pub(crate) fn is_within(part: &str, text: &str) -> bool {
    let (part, text) = (part.as_bytes(), text.as_bytes());
    let Some(first) = part.first() else {
        return true;
    };
    let Some(last) = text.len().checked_sub(part.len()) else {
        return false;
    };
    (0..=last).any(|at| {
        text[at].eq_ignore_ascii_case(first) && text[at..at + part.len()].eq_ignore_ascii_case(part)
    })
}

/// A number, or a text that is one: versions are numbers written as text.
fn number(value: &ValueView<'_>) -> Option<f64> {
    value.number().or_else(|| value.text().parse().ok())
}

fn first_word(text: &str) -> Option<(String, &str)> {
    if !text.starts_with('"') {
        let (word, rest) = text.split_once(char::is_whitespace)?;
        return Some((word.to_owned(), rest.trim_start()));
    }
    let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let word = strings.next()?.ok()?;
    let rest = text.get(strings.byte_offset()..)?;
    Some((word, rest.trim_start()))
}

fn operator(text: &str) -> Option<(&'static str, &str)> {
    OPERATORS.into_iter().find_map(|operator| {
        let rest = text.strip_prefix(operator)?;
        let ends = operator.len() == 1 || rest.is_empty() || rest.starts_with(char::is_whitespace);
        ends.then(|| (operator, rest.trim()))
    })
}

fn wanted(operator: &str, value: String) -> Result<Wanted, String> {
    let bound = |value: String| match value.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(value),
    };
    Ok(match operator {
        ">" => Wanted::Above(bound(value)?),
        "<" => Wanted::Below(bound(value)?),
        "contains" | "does not contain" => Wanted::Contains(value),
        _ => {
            let number = value.parse().ok();
            Wanted::Is(value, number)
        }
    })
}
