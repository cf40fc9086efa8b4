//! The file of rules: TOML, checked as a whole before anything runs.

mod fields;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::RuleSet;
use super::rule::Rule;
use fields::RuleFile;

const MAX_RULES: usize = 100;
/// Longer ones are refused: state is kept in memory, by rule.
const LONGEST_WINDOW: Duration = Duration::from_hours(24);
const SHORTEST_PERIOD: Duration = Duration::from_millis(20);

/// What is wrong with a file of rules.
#[derive(Debug, thiserror::Error)]
pub enum RuleFileError {
    /// No TOML, or a field that does not exist or has the wrong type. The parser's own text would
    /// repeat the line, which may have the webhook's address in it.
    #[error("line {line}: {problem}")]
    Toml {
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// A rule contradicts itself or lacks something.
    #[error("rule `{rule}`: {problem}")]
    Rule {
        /// Its name.
        rule: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The file around the rules.
    #[error("{0}")]
    Settings(String),
}

/// Where notices go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookFile {
    #[serde(deserialize_with = "web_address")]
    pub url: Address,
    pub secret_file: Option<PathBuf>,
    #[serde(default = "five_seconds", deserialize_with = "duration")]
    pub timeout: Duration,
    /// The pause before the second attempt; it doubles with each further one.
    #[serde(default = "one_second", deserialize_with = "duration")]
    pub first_retry: Duration,
}

/// An address that may have a token in it: only scheme, host and port are shown.
#[derive(Clone)]
pub(crate) struct Address(pub Url);

impl std::fmt::Debug for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0.origin().ascii_serialization())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFile {
    #[serde(default = "five_seconds", deserialize_with = "duration")]
    every: Duration,
    explorer_url: Option<String>,
    webhook: Option<WebhookFile>,
    #[serde(default)]
    rules: Vec<RuleFile>,
}

pub(super) fn parse(text: &str) -> Result<RuleSet, RuleFileError> {
    let file: SetFile = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        RuleFileError::Toml {
            line: 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count(),
            problem: error.message().to_owned(),
        }
    })?;
    if file.rules.len() > MAX_RULES {
        return settings(format!("there are more than {MAX_RULES} rules"));
    }
    if !(SHORTEST_PERIOD..=LONGEST_WINDOW).contains(&file.every) {
        return settings("`every` must be between 20ms and 24h".to_owned());
    }
    if let Some(url) = &file.explorer_url {
        address(url)
            .map_err(|problem| RuleFileError::Settings(format!("`explorer_url`: {problem}")))?;
    }
    let mut rules: Vec<Rule> = Vec::new();
    for rule in file.rules {
        let name = rule.name.clone();
        let rule = rule
            .rule()
            .and_then(|new| {
                let taken = rules.iter().any(|rule| rule.name == new.name);
                require(!taken, "another rule has this name").map(|()| new)
            })
            .map_err(|problem| RuleFileError::Rule {
                rule: name,
                problem,
            })?;
        rules.push(rule);
    }
    Ok(RuleSet {
        every: file.every,
        explorer_url: file.explorer_url,
        webhook: file.webhook,
        rules,
    })
}

fn require(holds: bool, problem: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(problem.to_owned())
    }
}

fn settings<T>(problem: String) -> Result<T, RuleFileError> {
    Err(RuleFileError::Settings(problem))
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    require(
        ["http", "https"].contains(&url.scheme()) && url.has_host(),
        "an address begins with http:// or https://",
    )?;
    Ok(url)
}

fn web_address<'de, D: Deserializer<'de>>(input: D) -> Result<Address, D::Error> {
    let text = String::deserialize(input)?;
    address(&text)
        .map(Address)
        .map_err(serde::de::Error::custom)
}

fn duration<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(input)?;
    runtime::duration(&text).map_err(serde::de::Error::custom)
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}
