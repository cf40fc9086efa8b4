//! The output of the command line: the only place in the workspace that writes to the terminal
//! directly.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use explorer::Trace;
use explorer::waterfall;

/// Writes one line to standard output. A closed pipe (`throughline traces | head`) is no reason to
/// fail.
pub(crate) fn say(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout().lock(), "{}", line.as_ref());
}

/// Writes one line to standard error.
pub(crate) fn warn(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", line.as_ref());
}

/// Replaces the last line of standard error, which is a terminal.
pub(crate) fn replace(line: impl AsRef<str>) {
    let mut terminal = std::io::stderr().lock();
    let _ = write!(terminal, "\r\x1b[K{}", line.as_ref());
    let _ = terminal.flush();
}

/// Whether standard output and error are both terminals.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}

/// The exit code of a command. A failure is printed with all its causes.
pub(crate) fn exit_code(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(format!("throughline: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether to colour standard output (<https://no-color.org>).
pub(crate) fn colour() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns of the terminal, or 120 without one.
fn width() -> usize {
    terminal_size::terminal_size().map_or(120, |(terminal_size::Width(width), _)| {
        usize::from(width).clamp(60, 200)
    })
}

/// A trace as a waterfall of the terminal's width.
pub(crate) fn waterfall(trace: &Trace) -> String {
    waterfall::render(
        trace,
        &waterfall::Style {
            width: width(),
            colour: colour(),
        },
    )
    .trim_end()
    .to_owned()
}

/// `text` with the SGR code `code`, if standard output is coloured.
pub(crate) fn paint(code: &str, text: &str) -> String {
    if colour() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
