//! What is shown of the rules: the answer of `GET /api/rules`, and the parts of a notice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answer of `GET /api/rules`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RulesReport {
    /// RFC 3339; `None` before the first evaluation.
    pub evaluated: Option<String>,
    /// Spans and log records that were evicted before a rule saw them.
    pub missed: u64,
    pub webhook: Option<WebhookReport>,
    pub rules: Vec<RuleReport>,
}

/// What became of the notices.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WebhookReport {
    /// Scheme, host and port: the rest of the address may be a secret.
    pub to: String,
    pub signed: bool,
    /// Answered with 2xx.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Given up after the last attempt, or refused for good.
    pub given_up: u64,
    /// Not sent, because too many waited.
    pub dropped: u64,
}

/// One rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleReport {
    pub name: String,
    pub summary: String,
    pub severity: String,
    pub action: Option<String>,
    /// The worst state of its groups.
    pub state: State,
    pub window_seconds: f64,
    pub for_seconds: f64,
    /// Groups that were not taken, because the rule has as many as it may.
    pub groups_refused: u64,
    pub groups: Vec<GroupReport>,
    /// Changes of states, the newest first.
    pub history: Vec<HistoryEntry>,
}

/// One group of a rule's labels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupReport {
    pub labels: BTreeMap<String, String>,
    pub state: State,
    pub since: Option<String>,
    #[serde(flatten)]
    pub measured: Measured,
    /// Traces that show what is wrong, the newest first.
    pub traces: Vec<Evidence>,
}

/// A value beside its limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// `None` when there was nothing in the window.
    pub value: Option<f64>,
    pub limit: f64,
    /// What the value is: `share`, `seconds`, `items`, or nothing for a metric.
    pub unit: String,
    /// Items in the window.
    pub items: u64,
    /// Those that are bad.
    pub bad: u64,
}

/// One change of a state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HistoryEntry {
    pub at: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub state: State,
    #[serde(flatten)]
    pub measured: Measured,
    pub traces: Vec<Evidence>,
}

/// A trace, and where it opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub trace_id: String,
    /// The page of the trace.
    pub url: String,
    /// The trace as OTLP in JSON.
    pub api_url: String,
}

/// The state of a rule or of one of its groups, by its weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The value is good, or there is none.
    #[default]
    Inactive,
    /// It fired, and the value is good again.
    Resolved,
    /// The value is bad, but not yet for as long as the rule wants.
    Pending,
    Firing,
}

impl State {
    /// The word in JSON, on the page and in the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Inactive => "inactive",
            State::Resolved => "resolved",
            State::Pending => "pending",
            State::Firing => "firing",
        }
    }
}
