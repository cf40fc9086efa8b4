//! The command-line options that every part has.

use std::time::Duration;

use crate::guard::AllowedHost;
use crate::tls::TlsOptions;

/// Options that every part has.
#[derive(Clone, Debug, clap::Args)]
pub struct ProcessOptions {
    /// Requests that may be in flight at once; more are refused with 429
    #[arg(
        long,
        env = "THROUGHLINE_MAX_IN_FLIGHT",
        default_value_t = 512,
        value_parser = number,
        value_name = "N",
    )]
    pub max_in_flight: usize,
    /// Time for one request, such as 500ms or 10s; then the answer is 504
    #[arg(
        long,
        env = "THROUGHLINE_REQUEST_TIMEOUT",
        default_value = "10s",
        value_parser = wait,
        value_name = "TIME",
    )]
    pub request_timeout: Duration,
    /// Time for a client to send the head of its next request; idle connections are closed after it
    #[arg(
        long,
        env = "THROUGHLINE_HEADER_TIMEOUT",
        default_value = "10s",
        value_parser = wait,
        value_name = "TIME",
    )]
    pub header_timeout: Duration,
    /// Time for the body of a request to arrive; then the answer is 408
    #[arg(
        long,
        env = "THROUGHLINE_BODY_TIMEOUT",
        default_value = "10s",
        value_parser = wait,
        value_name = "TIME",
    )]
    pub body_timeout: Duration,
    /// Bodies that may be on their way at once; with more, the oldest is answered 408
    #[arg(
        long,
        env = "THROUGHLINE_MAX_SLOW_BODIES",
        default_value_t = 256,
        value_parser = number,
        value_name = "N",
    )]
    pub max_slow_bodies: usize,
    /// Time for a client to read its answer; then the connection is closed
    #[arg(
        long,
        env = "THROUGHLINE_WRITE_TIMEOUT",
        default_value = "30s",
        value_parser = wait,
        value_name = "TIME",
    )]
    pub write_timeout: Duration,
    /// Connections that may be open at once, at most half of the files that the process may open;
    /// with more, the one that has been idle for the longest time is closed
    #[arg(
        long,
        env = "THROUGHLINE_MAX_CONNECTIONS",
        default_value_t = 4096,
        value_parser = number,
        value_name = "N",
    )]
    pub max_connections: usize,
    /// More names for the Host of requests: names, `.example.com` for all below it, or `*`. On
    /// loopback, its own names are allowed anyway; beyond, also addresses and names without a dot
    #[arg(
        long,
        env = "THROUGHLINE_ALLOWED_HOSTS",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    pub allowed_hosts: Vec<AllowedHost>,
    /// Time for requests in flight to finish after a stop signal
    #[arg(
        long,
        env = "THROUGHLINE_DRAIN_TIMEOUT",
        default_value = "3s",
        value_parser = wait,
        value_name = "TIME",
    )]
    pub drain_timeout: Duration,
    /// Time for the last telemetry to leave at exit
    #[arg(
        long,
        env = "THROUGHLINE_FLUSH_TIMEOUT",
        default_value = "2s",
        value_parser = wait,
        value_name = "TIME",
    )]
    pub flush_timeout: Duration,
    /// TLS of the listeners
    #[command(flatten)]
    pub tls: TlsOptions,
    /// Stop when standard input ends: the lifeline of a process whose parent may be killed
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

impl Default for ProcessOptions {
    /// The defaults of the command line.
    fn default() -> Self {
        Self {
            max_in_flight: 512,
            request_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            max_slow_bodies: 256,
            write_timeout: Duration::from_secs(30),
            max_connections: 4096,
            allowed_hosts: Vec::new(),
            drain_timeout: Duration::from_secs(3),
            flush_timeout: Duration::from_secs(2),
            tls: TlsOptions::default(),
            exit_with_parent: false,
        }
    }
}

/// The longest time that an option takes: adding a longer one to the clock can overflow on some
/// systems.
const LONGEST: Duration = Duration::from_hours(24);

/// Reads the time of an option: `250ms`, `10s`, `2m`, `12h` or `30d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no time such as 500ms or 10s"))?;
    let scale = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("`{text}` needs a unit: ms, s, m, h or d")),
    };
    number
        .checked_mul(scale)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("`{text}` is too long"))
}

/// Reads a time that a request or an exit waits for.
fn wait(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time <= LONGEST {
        Ok(time)
    } else {
        Err(format!("`{text}` is longer than a day"))
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=1_000_000).contains(number))
        .ok_or_else(|| format!("`{text}` is no number from 1 to 1000000"))
}
