//! The command line of a process, whose errors show no secret.

use std::io::Write as _;

use clap::Parser;

use crate::without_secrets;

/// Parses the command line and the environment, or ends the process as clap does.
///
/// clap repeats a value that it refuses and an argument that it does not expect. Either may be an
/// address with a password, as in `throughline feature-store redis://user:password@host`, where the
/// flag is missing.
pub fn arguments<P: Parser>() -> P {
    P::try_parse().unwrap_or_else(|error| usage_error(&error))
}

fn usage_error(error: &clap::Error) -> ! {
    let text = error.to_string();
    let shown = without_secrets(&text);
    // Without a secret, clap writes the text itself, with its colours.
    if !error.use_stderr() || shown == text {
        error.exit();
    }
    let _ = std::io::stderr().write_all(shown.as_bytes());
    std::process::exit(error.exit_code());
}
