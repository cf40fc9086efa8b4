//! The log records of failed spans.
//!
//! An outage fails every request in the same way, thousands of times a second. Equal exceptions are
//! therefore limited in rate: some of each interval are logged whole, the rest is counted, and the
//! next record has the count. Spans and metrics show every failure.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::Location;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use parking_lot::Mutex;

use super::with_context;
use crate::error_chain::causes;

/// Equal exceptions that are logged in one [`INTERVAL`].
const MAX_RECORDS: u32 = 10;
const INTERVAL: Duration = Duration::from_secs(10);
/// Kinds of exceptions that are told apart. More of them share the limit of one kind.
const MAX_KINDS: usize = 256;
/// Bytes of a stack trace, and the frames in it.
const MAX_TRACE: usize = 8 << 10;
const MAX_FRAMES: usize = 32;

static LIMITER: LazyLock<Mutex<Limiter>> = LazyLock::new(Mutex::default);

/// Logs the failure of the span of `context`, if its kind was not logged too often just now.
pub(crate) fn log(
    context: &Context,
    error: &dyn Error,
    message: &str,
    error_type: &'static str,
    at: &Location<'_>,
) {
    let kind = kind(message, error_type, at);
    let Some(suppressed) = LIMITER.lock().admit(kind, Instant::now()) else {
        return;
    };
    let suppressed = (suppressed > 0).then_some(suppressed);
    let message = bounded(message.to_owned());
    with_context(context, || {
        tracing::error!(
            name: "exception",
            {
                "exception.type" = error_type,
                "exception.message" = message,
                "exception.stacktrace" = stack_trace(error, at),
                suppressed,
            },
            "{message}"
        );
    });
}

/// What equal exceptions have in common: the place, the type, and the message without its numbers.
fn kind(message: &str, error_type: &str, at: &Location<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (error_type, at.file(), at.line()).hash(&mut hasher);
    for byte in message.bytes().filter(|byte| !byte.is_ascii_digit()) {
        hasher.write_u8(byte);
    }
    hasher.finish()
}

/// How often each kind was logged in its present interval.
#[derive(Debug, Default)]
struct Limiter {
    kinds: HashMap<u64, Kind>,
}

#[derive(Debug)]
struct Kind {
    start: Instant,
    records: u32,
    suppressed: u64,
}

impl Limiter {
    /// Whether to log an exception of `kind`: `None`, or how many were suppressed before it.
    fn admit(&mut self, kind: u64, now: Instant) -> Option<u64> {
        let is_over = |kind: &Kind| now.saturating_duration_since(kind.start) >= INTERVAL;
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&kind) {
            self.kinds
                .retain(|_, kind| !is_over(kind) || kind.suppressed > 0);
        }
        let is_full = self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&kind);
        let key = if is_full { 0 } else { kind };
        let kind = self.kinds.entry(key).or_insert(Kind {
            start: now,
            records: 0,
            suppressed: 0,
        });
        if is_over(kind) {
            (kind.start, kind.records) = (now, 0);
        }
        if kind.records == MAX_RECORDS {
            kind.suppressed += 1;
            return None;
        }
        kind.records += 1;
        Some(std::mem::take(&mut kind.suppressed))
    }
}

/// Where the error was recorded and what caused it. The frames follow when `RUST_LIB_BACKTRACE` or
/// `RUST_BACKTRACE` asks for them: the first walk of the stack reads the symbols of the whole
/// program, which takes its time and stays in memory.
fn stack_trace(error: &dyn Error, at: &Location<'_>) -> String {
    let mut text = format!("{error}\n    at {}:{}", at.file(), at.line());
    for cause in causes(error) {
        let _ = write!(text, "\nCaused by: {cause}");
    }
    let frames = Backtrace::capture();
    if frames.status() == BacktraceStatus::Captured {
        // A frame has two lines: its name and its place.
        for line in frames.to_string().lines().take(2 * MAX_FRAMES) {
            let _ = write!(text, "\n{line}");
        }
    }
    bounded(text)
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_TRACE {
        text.truncate(text.floor_char_boundary(MAX_TRACE));
    }
    text
}

#[cfg(test)]
mod tests;
