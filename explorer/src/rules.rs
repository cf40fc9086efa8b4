//! Rules that fire: what arrives is looked at every few seconds, each rule has a state for each
//! group of its labels, and a webhook is told when one fires and when it is over.
//!
//! The path: `file` (TOML) → [`RuleSet`] → `engine` (cursors on the stores, `Engine::evaluate`) →
//! `window` (what is in the window of a rule) → `state` → `report` and `webhook`. Times are those of
//! this process, never those that senders claim, and tests call `evaluate` with a time of their own.

mod engine;
mod file;
mod group;
mod label;
mod points;
mod prometheus;
mod report;
mod rule;
mod state;
mod watch;
mod webhook;
mod window;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use runtime::Shutdown;
use tokio::time::MissedTickBehavior;

use crate::blocking;
use crate::store::TelemetryStore;

use engine::Engine;
pub use file::RuleFileError;
use file::WebhookFile;
pub use report::{
    Evidence, GroupReport, HistoryEntry, Measured, RuleReport, RulesReport, State, WebhookReport,
};
use rule::Rule;
use webhook::{Delivery, Webhook};

/// The rules that come with Throughline: silent on healthy traffic.
pub const DEFAULT_RULES: &str = include_str!("rules/default.toml");

/// The rules of one file.
#[derive(Debug)]
pub struct RuleSet {
    every: Duration,
    explorer_url: Option<String>,
    webhook: Option<WebhookFile>,
    rules: Vec<Rule>,
}

/// Why the rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is there and says nothing usable.
    #[error("the rules of {} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RuleFileError,
    },
    /// The secret of the webhook is too short to keep anybody out.
    #[error("the webhook's secret in {} has {bytes} bytes; give it 24 to 512 random ones", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Bytes without white space around them.
        bytes: usize,
    },
    /// The HTTP client of the webhook cannot be built.
    #[error("the webhook cannot be used")]
    Client(#[from] telemetry::client::ClientError),
}

impl RuleSet {
    /// The rules of a file; paths in it are relative to its folder.
    pub fn read(path: &Path) -> Result<RuleSet, RulesError> {
        let text = std::fs::read_to_string(path).map_err(|source| RulesError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut rules = RuleSet::parse(&text).map_err(|source| RulesError::File {
            path: path.to_owned(),
            source,
        })?;
        if let (Some(webhook), Some(folder)) = (&mut rules.webhook, path.parent()) {
            webhook.secret_file = webhook.secret_file.as_ref().map(|file| folder.join(file));
        }
        Ok(rules)
    }

    /// No rules, which never fire.
    pub(crate) fn none() -> RuleSet {
        RuleSet {
            every: Duration::from_mins(1),
            explorer_url: None,
            webhook: None,
            rules: Vec::new(),
        }
    }

    /// The rules of a text in TOML.
    pub fn parse(text: &str) -> Result<RuleSet, RuleFileError> {
        file::parse(text)
    }

    /// The same rules as a file for Prometheus, in YAML.
    pub fn prometheus(&self) -> String {
        prometheus::file(self)
    }

    /// What other tools must agree with, for each rule.
    pub fn facts(&self) -> impl Iterator<Item = RuleFacts<'_>> {
        self.rules.iter().map(Rule::facts)
    }
}

/// The name and the numbers of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RuleFacts<'a> {
    pub name: &'a str,
    pub summary: &'a str,
    /// What makes one item count: seconds of a span, or the value of an attribute.
    pub item: Option<f64>,
    pub more_than: u64,
    pub window_seconds: u64,
    /// The name of the alert in Prometheus, if it is there.
    pub alert: Option<&'a str>,
}

/// The engine with its webhook, as the process runs it.
pub(crate) struct Rules {
    engine: Engine,
    webhook: Option<Webhook>,
}

impl Rules {
    /// The rules of a file on a store, and what delivers their notices. `base` is where the pages
    /// open if the file does not say.
    pub(crate) fn new(
        set: RuleSet,
        base: &str,
        store: Arc<TelemetryStore>,
    ) -> Result<(Arc<Rules>, Option<Delivery>), RulesError> {
        let base = set.explorer_url.clone().unwrap_or_else(|| base.to_owned());
        let (webhook, delivery) = match &set.webhook {
            Some(file) => {
                Webhook::new(file).map(|(webhook, delivery)| (Some(webhook), Some(delivery)))?
            }
            None => (None, None),
        };
        let engine = Engine::new(set, &base, store);
        Ok((Arc::new(Rules { engine, webhook }), delivery))
    }

    /// No rules on a store.
    pub(crate) fn none(store: Arc<TelemetryStore>) -> Arc<Rules> {
        Arc::new(Rules {
            engine: Engine::new(RuleSet::none(), "", store),
            webhook: None,
        })
    }

    /// Evaluates and tells, again and again, until `shutdown`.
    pub(crate) async fn run(self: Arc<Rules>, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(self.engine.every());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.wait() => return,
            }
            let rules = Arc::clone(&self);
            blocking::read(move || rules.evaluate(now())).await;
        }
    }

    fn evaluate(&self, now: u64) {
        for change in self.engine.evaluate(now) {
            webhook::log(&self.engine, &change);
            if let (Some(webhook), State::Firing | State::Resolved) = (&self.webhook, change.state)
            {
                webhook.tell(&self.engine, &change);
            }
        }
    }

    pub(crate) fn report(&self) -> RulesReport {
        RulesReport {
            webhook: self.webhook.as_ref().map(Webhook::report),
            ..self.engine.report()
        }
    }
}

/// Sends notices until `shutdown`; without a webhook there is nothing to do.
pub(crate) async fn deliver(delivery: Option<Delivery>, shutdown: Shutdown) {
    if let Some(delivery) = delivery {
        delivery.run(shutdown).await;
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    group::nanoseconds(since.unwrap_or_default())
}

#[cfg(test)]
mod tests;
