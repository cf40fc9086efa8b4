//! One part as a process, from its options to its exit code.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use telemetry::{Settings, chain};
use tokio::net::{TcpListener, TcpSocket};
use tower::BoxError;

use crate::options::ProcessOptions;
use crate::shutdown::Shutdown;

/// What distinguishes one part from the others.
#[derive(Clone, Copy, Debug)]
pub struct PartInfo {
    /// `service.name`, and the name that faults on purpose are addressed to.
    pub name: &'static str,
    /// `service.version`.
    pub version: &'static str,
    /// The flag that sets the address, for the message when the port is taken.
    pub listen_flag: &'static str,
    /// False for the explorer: it would receive the telemetry that it emits.
    pub traced: bool,
}

/// The address cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}; choose another address with {flag}")]
pub struct BindError {
    address: SocketAddr,
    flag: &'static str,
    source: std::io::Error,
}

/// Connections that may wait to be accepted, as many as `--max-connections` is by default; the kernel
/// takes less if `net.core.somaxconn` is less. A client that finds the queue full tries again only after a
/// second, and the usual 128 were full when 256 clients came at the same moment.
const BACKLOG: u32 = 4096;

/// Binds `address`; the error names the port and the flag that changes it. It needs a runtime.
pub fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, BindError> {
    listen(address).map_err(|source| BindError {
        address,
        flag,
        source,
    })
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // As `TcpListener::bind` has it: a restart does not wait for the connections of before. On Windows
    // the same option would share the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Runs one part: sets up telemetry, binds, calls `serve` until it returns, and flushes on every
/// way out.
pub fn run<F, Fut, E>(
    part: &PartInfo,
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
        Err(error) => return report_on_stderr(part, error.as_ref()),
    };
    let outcome = block_on(part, listen, options, serve);
    if let Err(error) = &outcome {
        let error = chain(error.as_ref());
        tracing::error!(name: "server.failed", error, "{} stops: {error}", part.name);
    }
    telemetry.shutdown(options.flush_timeout);
    if outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn set_up(part: &PartInfo) -> Result<telemetry::Guard, BoxError> {
    let settings = Settings::from_env(part.name, part.version);
    let settings = if part.traced {
        settings
    } else {
        settings.without_exporters()
    };
    Ok(telemetry::init(&settings)?)
}

fn block_on<F, Fut, E>(
    part: &PartInfo,
    listen: SocketAddr,
    options: &ProcessOptions,
    serve: F,
) -> Result<(), BoxError>
where
    F: FnOnce(TcpListener, Shutdown) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Error + Send + Sync + 'static,
{
    crate::files::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let listener = bind(listen, part.listen_flag)?;
        let url = format!("{}://{}", options.tls.scheme(), listener.local_addr()?);
        tracing::info!(name: "server.listening", url, "{} listens on {url}", part.name);
        serve(listener, Shutdown::of_process(options.exit_with_parent)).await?;
        tracing::info!(name: "server.stopped", "{} has drained and stops", part.name);
        Ok(())
    });
    // Work on the blocking pool whose result nobody awaits must not delay the exit.
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome
}

/// Reports an error that came before the log was set up.
fn report_on_stderr(part: &PartInfo, error: &dyn Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}: {}", part.name, chain(error));
    ExitCode::FAILURE
}
