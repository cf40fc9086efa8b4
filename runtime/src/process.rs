//! One part as a process, from its options to its exit code.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use telemetry::Settings;
use tokio::net::TcpListener;

use crate::Shutdown;

/// What is fixed about a part.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// `service.name`, and the name that faults on purpose are addressed to.
    pub name: &'static str,
    /// `service.version`.
    pub version: &'static str,
    /// The flag that sets the address, for the message when the port is taken.
    pub listen_flag: &'static str,
    /// False for the explorer: an observer that told of itself would observe itself.
    pub traced: bool,
}

/// Options that every part has.
#[derive(Clone, Debug, clap::Args)]
pub struct ProcessOptions {
    /// Requests that may be in flight at once; more are refused with 429
    #[arg(long, env = "THROUGHLINE_MAX_IN_FLIGHT", default_value_t = 512, value_parser = in_flight, value_name = "N")]
    pub max_in_flight: usize,
    /// Time for one request, such as 500ms or 10s; then the answer is 504
    #[arg(long, env = "THROUGHLINE_REQUEST_TIMEOUT", default_value = "10s", value_parser = wait, value_name = "TIME")]
    pub request_timeout: Duration,
    /// Time for a client to send the head of its next request; idle connections are closed after it
    #[arg(long, env = "THROUGHLINE_HEADER_TIMEOUT", default_value = "10s", value_parser = wait, value_name = "TIME")]
    pub header_timeout: Duration,
    /// Time for requests in flight to finish after a stop signal
    #[arg(long, env = "THROUGHLINE_DRAIN_TIMEOUT", default_value = "3s", value_parser = wait, value_name = "TIME")]
    pub drain_timeout: Duration,
    /// Time for the last telemetry to leave at exit
    #[arg(long, env = "THROUGHLINE_FLUSH_TIMEOUT", default_value = "2s", value_parser = wait, value_name = "TIME")]
    pub flush_timeout: Duration,
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
            drain_timeout: Duration::from_secs(3),
            flush_timeout: Duration::from_secs(2),
            exit_with_parent: false,
        }
    }
}

/// The address cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}; choose another address with {flag}")]
pub struct BindError {
    address: SocketAddr,
    flag: &'static str,
    source: std::io::Error,
}

/// Binds `address`; the error names the port and the flag that changes it.
pub async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError {
            address,
            flag,
            source,
        })
}

/// Runs one part: telemetry, listener, `serve` until it returns, flush. Every way out flushes.
pub fn run<F, Fut, E>(
    part: &Part,
    listen: SocketAddr,
    options: &ProcessOptions,
    serve: F,
) -> ExitCode
where
    F: FnOnce(TcpListener, Shutdown) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Error + Send + Sync + 'static,
{
    let telemetry = match set_up(part) {
        Ok(telemetry) => telemetry,
        Err(error) => return complain(part, error.as_ref()),
    };
    let outcome = block_on(part, listen, options, serve);
    if let Err(error) = &outcome {
        tracing::error!(name: "server.failed", error = chain(error.as_ref()), "{} stops: {}", part.name, chain(error.as_ref()));
    }
    telemetry.shutdown(options.flush_timeout);
    if outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

type Cause = Box<dyn Error + Send + Sync>;

fn set_up(part: &Part) -> Result<telemetry::Guard, Cause> {
    let settings = Settings::from_env(part.name, part.version)?;
    let settings = if part.traced {
        settings
    } else {
        settings.without_exporters()
    };
    Ok(telemetry::init(&settings)?)
}

fn block_on<F, Fut, E>(
    part: &Part,
    listen: SocketAddr,
    options: &ProcessOptions,
    serve: F,
) -> Result<(), Cause>
where
    F: FnOnce(TcpListener, Shutdown) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Error + Send + Sync + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let listener = bind(listen, part.listen_flag).await?;
        let url = format!("http://{}", listener.local_addr()?);
        tracing::info!(name: "server.listening", url, "{} listens on {url}", part.name);
        serve(listener, Shutdown::of_process(options.exit_with_parent)).await?;
        tracing::info!(name: "server.stopped", "{} has drained and stops", part.name);
        Ok(())
    });
    // Work on the blocking pool that nobody waits for any more must not hold the exit.
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome
}

/// An error with its causes on one line, as log lines and last words tell it.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Before there is a log there is still standard error.
fn complain(part: &Part, error: &dyn Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}: {}", part.name, chain(error));
    ExitCode::FAILURE
}

/// The longest time that an option takes: beyond it a deadline could no longer be computed on every system.
const LONGEST: Duration = Duration::from_hours(24);

/// Reads a time of an option: `250ms`, `10s`, `2m`, `12h` or `30d`.
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

/// A time that a request or an exit waits for.
fn wait(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time <= LONGEST {
        Ok(time)
    } else {
        Err(format!("`{text}` is longer than a day"))
    }
}

fn in_flight(text: &str) -> Result<usize, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=1_000_000).contains(number));
    number.ok_or_else(|| format!("`{text}` is no number from 1 to 1000000"))
}
