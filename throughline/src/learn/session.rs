//! One walk through a chapter: shows what is missing, listens to the keyboard, and goes on when the
//! explorer has what the step leaves there.

use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use super::chapter::Step;
use super::expectation::{Expectation, Verdict};
use crate::explorer_client::ExplorerClient;
use crate::screen;

/// The pause between two looks into the explorer.
const POLL: Duration = Duration::from_millis(500);
/// The newest traces that are looked at.
const TRACES: usize = 20;
const KEYS: &str = "Enter goes on without it, h gives a hint, q quits.";

/// The reader's session. Only traces that began after it count.
pub(super) struct Session {
    explorer: ExplorerClient,
    began: Timestamp,
    keyboard: Option<Lines<BufReader<Stdin>>>,
}

/// What the reader typed.
enum Key {
    GoOn,
    Hint,
    Quit,
    /// There is no keyboard any more.
    Ended,
}

impl Session {
    pub(super) fn new(explorer: ExplorerClient) -> Self {
        Self {
            explorer,
            began: Timestamp::now(),
            keyboard: Some(BufReader::new(tokio::io::stdin()).lines()),
        }
    }

    /// Waits until the step is done; false if the reader quits.
    pub(super) async fn pass(&mut self, step: &Step) -> anyhow::Result<bool> {
        match &step.expectation {
            Some(expectation) => self.wait_for(expectation).await,
            // Of a program that types nothing, only its traces are waited for.
            None if self.keyboard.is_none() => Ok(true),
            None => {
                screen::say("\nEnter goes on, q quits.");
                Ok(!matches!(self.key().await?, Key::Quit))
            }
        }
    }

    async fn wait_for(&mut self, expectation: &Expectation) -> anyhow::Result<bool> {
        screen::say(format!("\nWaiting for {}. {KEYS}", expectation.text()));
        let mut said = String::new();
        loop {
            let state = match self.look(expectation).await {
                Ok(Seen::Met(trace_id)) => {
                    let met = screen::paint("32", "Done");
                    screen::say(format!("{met}: throughline trace {trace_id}"));
                    return Ok(true);
                }
                Ok(Seen::Almost(missing)) => missing,
                Ok(Seen::Nothing) => String::new(),
                Err(error) => format!("{error:#}"),
            };
            if state != said && !state.is_empty() {
                screen::say(&state);
            }
            said = state;
            let pause = tokio::time::sleep(POLL);
            tokio::select! {
                () = pause => {}
                key = self.key() => match key? {
                    Key::GoOn => return Ok(true),
                    Key::Hint => screen::say(&expectation.hint),
                    Key::Quit => return Ok(false),
                    Key::Ended => {}
                },
            }
        }
    }

    /// Looks at the newest traces of the service.
    async fn look(&self, expectation: &Expectation) -> anyhow::Result<Seen> {
        let query = format!("limit={TRACES}&service={}", expectation.service);
        let mut seen = Seen::Nothing;
        for summary in self.explorer.traces(&query).await? {
            let start = summary.start.and_then(|start| start.parse().ok());
            if start.is_none_or(|start: Timestamp| start < self.began) {
                continue;
            }
            let Some(trace) = self.explorer.trace(&summary.trace_id).await? else {
                continue;
            };
            match (expectation.judge(&trace), &expectation.log) {
                (Verdict::Met, None) => return Ok(Seen::Met(summary.trace_id)),
                (Verdict::Met, Some(log)) if self.has_log(&summary.trace_id, log).await? => {
                    return Ok(Seen::Met(summary.trace_id));
                }
                (Verdict::Met, Some(log)) => {
                    seen = Seen::Almost(format!(
                        "The span is there, but no log record `{log}` has its trace id."
                    ));
                }
                (Verdict::Almost(missing), _) => seen = Seen::Almost(missing),
                (Verdict::Nothing, _) => {}
            }
        }
        Ok(seen)
    }

    async fn has_log(&self, trace_id: &str, words: &str) -> anyhow::Result<bool> {
        let query = format!("limit=100&trace_id={trace_id}");
        let records = self.explorer.logs(&query).await?;
        Ok(records.iter().any(|record| {
            let body = record.body.as_str().unwrap_or_default();
            record.event_name.as_deref() == Some(words) || body.contains(words)
        }))
    }

    /// The next line of the keyboard; never, if it has ended.
    async fn key(&mut self) -> anyhow::Result<Key> {
        let Some(keyboard) = &mut self.keyboard else {
            return std::future::pending().await;
        };
        let Some(line) = keyboard.next_line().await? else {
            self.keyboard = None;
            return Ok(Key::Ended);
        };
        Ok(match line.trim() {
            "h" | "hint" => Key::Hint,
            "q" | "quit" => Key::Quit,
            _ => Key::GoOn,
        })
    }
}

/// What the explorer has of an expectation.
enum Seen {
    /// In this trace.
    Met(String),
    Almost(String),
    Nothing,
}
