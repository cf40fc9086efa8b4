//! The subcommand `healthcheck`: asks the part that runs beside it whether it is ready. Container
//! images without a shell use it as their health check.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use telemetry::chain;
use tower::BoxError;

use crate::options::duration;
use crate::process::PartInfo;
use crate::tls::{TlsClientOptions, TlsOptions};

/// Options of the subcommand.
#[derive(Clone, Debug, clap::Args)]
pub struct HealthcheckOptions {
    /// Base address of the part [default: where it listens, by its own variable or default]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Time for the answer
    #[arg(long, default_value = "3s", value_parser = duration, value_name = "TIME")]
    pub timeout: Duration,
}

/// Commands that the program of every part has.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum PartCommand {
    /// Ask the running part whether it is ready; the exit status is 0 if it is
    Healthcheck(HealthcheckOptions),
}

/// Asks the part at `options.url`, else the one that listens on `listen`.
pub fn healthcheck(part: &PartInfo, listen: SocketAddr, options: &HealthcheckOptions) -> ExitCode {
    match ask(listen, options) {
        Ok(answer) => {
            let _ = writeln!(std::io::stdout(), "{}: {answer}", part.name);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let error = chain(error.as_ref());
            let _ = writeln!(std::io::stderr(), "{} is not ready: {error}", part.name);
            ExitCode::FAILURE
        }
    }
}

/// An address to connect to: a part that listens on all addresses is asked on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = listen.ip();
    match ip {
        _ if !ip.is_unspecified() => listen,
        _ if ip.is_ipv4() => (Ipv4Addr::LOCALHOST, listen.port()).into(),
        _ => (Ipv6Addr::LOCALHOST, listen.port()).into(),
    }
}

/// The body of `GET /readyz`, if its status is 200.
fn ask(listen: SocketAddr, options: &HealthcheckOptions) -> Result<String, BoxError> {
    let tls = TlsClientOptions::from_env();
    let (url, client) = if let Some(url) = &options.url {
        (url.trim_end_matches('/').to_owned(), tls.client()?)
    } else {
        let listener = TlsOptions::from_env();
        let url = format!("{}://{}", listener.scheme(), reachable(listen));
        (url, tls.or_of_listener(&listener).unverified_client()?)
    };
    let request = Request::get(format!("{url}/readyz")).body(Bytes::new())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(client.send(request, options.timeout))?;
    let body = String::from_utf8_lossy(answer.body()).into_owned();
    match answer.status() {
        StatusCode::OK => Ok(body),
        status => Err(format!("{url}/readyz answers {status}: {body}").into()),
    }
}

#[cfg(test)]
mod tests {
    //! Which address is asked.

    use super::reachable;

    #[test]
    fn a_part_on_all_addresses_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.1.2.3:8080", "10.1.2.3:8080"),
            ("127.0.0.1:9", "127.0.0.1:9"),
        ] {
            let listen = listen.parse().expect("an address");
            assert_eq!(reachable(listen).to_string(), asked);
        }
    }
}
