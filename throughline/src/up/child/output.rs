//! What a child writes: its log file, its warnings on the terminal, its addresses, its last lines.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::log_file::LogFile;
use crate::screen;

/// How many of its last lines are printed when it dies.
const LAST_LINES: usize = 12;

/// Addresses by the name of the log event that reports them.
pub(super) type ChildUrls = HashMap<String, String>;

/// What a child has written.
#[derive(Debug)]
pub(super) struct ChildOutput {
    name: &'static str,
    log: Mutex<LogFile>,
    last: Mutex<VecDeque<String>>,
    urls: watch::Sender<ChildUrls>,
}

impl ChildOutput {
    pub(super) fn new(
        name: &'static str,
        log: LogFile,
        urls: watch::Sender<ChildUrls>,
    ) -> ChildOutput {
        ChildOutput {
            name,
            log: Mutex::new(log),
            last: Mutex::default(),
            urls,
        }
    }

    fn record(&self, line: &str) {
        self.log.lock().write_line(line);
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        if let (Some(name), Some(url)) = (event["event.name"].as_str(), event["url"].as_str()) {
            self.urls.send_modify(|urls| {
                urls.entry(name.to_owned())
                    .or_insert_with(|| url.to_owned());
            });
        }
        let level = event["level"].as_str();
        let text = match (level, event["message"].as_str()) {
            (Some(level), Some(message)) => format!("{level} {message}"),
            _ => line.to_owned(),
        };
        let name = format!("{:<14}", self.name);
        match level {
            Some("WARN" | "ERROR") => {
                let name = screen::paint("33", &name);
                screen::warn(format!("{name} {text}"));
            }
            // Not a log line: progress, a result, or a panic.
            None if !text.is_empty() => {
                let name = screen::paint("90", &name);
                screen::say(format!("{name} {text}"));
            }
            _ => {}
        }
        let mut last = self.last.lock();
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(text);
    }

    pub(super) fn last_lines(&self) -> String {
        let last = self.last.lock();
        if last.is_empty() {
            return String::new();
        }
        let lines: Vec<&str> = last.iter().map(String::as_str).collect();
        format!("; its last lines:\n    {}", lines.join("\n    "))
    }
}

/// Records every line of a stream until its end.
pub(super) fn read_lines(
    stream: Option<impl AsyncRead + Send + Unpin + 'static>,
    output: Arc<ChildOutput>,
) -> Option<JoinHandle<()>> {
    let stream = stream?;
    Some(telemetry::task::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            output.record(&line);
        }
    }))
}
