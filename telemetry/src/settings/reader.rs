//! Reads variables by the rules that the specification gives for their types, and collects those
//! that cannot be followed.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Longest duration that is followed: later points in time cannot be represented everywhere.
const MAX_MILLISECONDS: u64 = i32::MAX as u64;

/// Variables that work without the SDK.
const ALWAYS_READ: [&str; 5] = [
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_PROPAGATORS",
    "OTEL_LOG_LEVEL",
    "RUST_LOG",
];

/// Variables that change much and are not followed at all, so that a user must hear of it.
const NOT_FOLLOWED: [(&str, &str); 3] = [
    (
        "OTEL_CONFIG_FILE",
        "is not followed: there is no declarative configuration; the other variables are",
    ),
    (
        "OTEL_EXPERIMENTAL_CONFIG_FILE",
        "is not followed: there is no declarative configuration; the other variables are",
    ),
    (
        "OTEL_METRICS_EXEMPLAR_FILTER",
        "is not followed: the Rust SDK has no exemplars",
    ),
];

/// A variable, or a part of its value, that is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The variable.
    pub variable: String,
    /// What is wrong, without a value that can hold a secret.
    pub reason: String,
}

impl fmt::Display for Ignored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.variable, self.reason)
    }
}

/// The environment.
pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    ignored: RefCell<Vec<Ignored>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            lookup,
            ignored: RefCell::default(),
        }
    }

    /// Reports the variables that nothing here reads.
    pub(super) fn ignore_the_rest(&self) {
        for (variable, reason) in NOT_FOLLOWED {
            if self
                .get(variable)
                .is_some_and(|value| !value.eq_ignore_ascii_case("always_off"))
            {
                self.ignore(variable, reason);
            }
        }
    }

    pub(super) fn into_ignored(self) -> Vec<Ignored> {
        self.ignored.into_inner()
    }

    /// Only the word "true" disables. The specification wants every other value read as false, and
    /// reported.
    pub(super) fn is_disabled(&self) -> bool {
        const VARIABLE: &str = "OTEL_SDK_DISABLED";
        let Some(value) = self.given(VARIABLE) else {
            return false;
        };
        let disabled = value.eq_ignore_ascii_case("true");
        if !disabled && !value.eq_ignore_ascii_case("false") {
            self.ignore(VARIABLE, format!("is `{value}`; it takes true or false"));
        }
        disabled
    }

    /// The trimmed value. An empty one counts as unset. With the SDK off only the variables that
    /// work without it are read.
    pub(super) fn get(&self, variable: &str) -> Option<String> {
        let is_read = || {
            ALWAYS_READ.contains(&variable)
                || !self
                    .given("OTEL_SDK_DISABLED")
                    .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        };
        self.given(variable).filter(|_| is_read())
    }

    fn given(&self, variable: &str) -> Option<String> {
        let value = (self.lookup)(variable)?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    }

    /// Reports that a value is not followed; once, since a general variable is read for each
    /// signal.
    pub(super) fn ignore(&self, variable: &str, reason: impl Into<String>) {
        let ignored = Ignored {
            variable: variable.to_owned(),
            reason: reason.into(),
        };
        let mut all = self.ignored.borrow_mut();
        if !all.contains(&ignored) {
            all.push(ignored);
        }
    }

    /// A value out of a list of words, in any case.
    pub(super) fn word<T: Copy>(&self, variable: &str, words: &[(&str, T)]) -> Option<T> {
        let value = self.get(variable)?;
        let found = find(&value, words);
        if found.is_none() {
            self.ignore_word(variable, &value, words);
        }
        found
    }

    /// Values out of a list of words, without repetition; unknown ones are skipped. `none` alone is
    /// an empty list, and without a known word the variable counts as unset.
    pub(super) fn list<T: Copy + PartialEq>(
        &self,
        variable: &str,
        words: &[(&str, T)],
    ) -> Option<Vec<T>> {
        let value = self.get(variable)?;
        let mut found = Vec::new();
        let mut is_none = false;
        for word in value.split(',').map(str::trim) {
            if word.eq_ignore_ascii_case("none") {
                is_none = true;
            } else if let Some(known) = find(word, words) {
                if !found.contains(&known) {
                    found.push(known);
                }
            } else if !word.is_empty() {
                self.ignore_word(variable, word, words);
            }
        }
        (is_none || !found.is_empty()).then_some(found)
    }

    /// A whole number of at least `least` and at most `most`.
    pub(super) fn number<T>(&self, variable: &str, least: T, most: T) -> Option<T>
    where
        T: Copy + FromStr + PartialOrd + fmt::Display,
    {
        let value = self.get(variable)?;
        let number = value
            .parse()
            .ok()
            .filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let reason = format!("is `{value}`; it takes a whole number from {least} to {most}");
            self.ignore(variable, reason);
        }
        number
    }

    pub(super) fn milliseconds(&self, variable: &str, least: u64) -> Option<Duration> {
        self.number(variable, least, MAX_MILLISECONDS)
            .map(Duration::from_millis)
    }

    fn ignore_word<T>(&self, variable: &str, word: &str, words: &[(&str, T)]) {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let reason = format!("is `{word}`; it takes {}", known.join(", "));
        self.ignore(variable, reason);
    }
}

fn find<T: Copy>(word: &str, words: &[(&str, T)]) -> Option<T> {
    words
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(word))
        .map(|(_, value)| *value)
}
