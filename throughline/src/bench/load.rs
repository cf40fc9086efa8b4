//! The load: a fixed number of requests over a few kept connections, each latency noted.

use std::time::Instant;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::resources::{self, Usage};
use crate::cli::BenchOptions;
use crate::up::System;

/// Rows of the data set, and so different keys of the load.
const WINES: usize = 1599;

/// Which way through the system is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Answered from the prediction store.
    Hit,
    /// Computed by the model and stored, because the request says `Cache-Control: no-cache`.
    Miss,
}

/// One measured load.
#[derive(Debug)]
pub(crate) struct Measurement {
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU time of each process, user and system, in µs per request.
    pub(crate) cpu_us: Vec<(&'static str, f64)>,
}

/// Sends the requests and measures client and server sides.
pub(crate) async fn run(
    system: &System,
    path: Path,
    options: &BenchOptions,
) -> anyhow::Result<Measurement> {
    let gateway: Uri = system.gateway()?.parse()?;
    if path == Path::Hit {
        // Every key once, so that each of the measured requests finds its answer.
        connection(&gateway, path, 0..WINES).await?;
    }
    let before = resources::of(system);
    let start = Instant::now();
    let share = options.requests / options.connections;
    let loads = (0..options.connections).map(|number| {
        let gateway = gateway.clone();
        telemetry::task::spawn(async move {
            connection(&gateway, path, number * share..(number + 1) * share).await
        })
    });
    let mut latencies = Vec::with_capacity(options.requests);
    for load in loads.collect::<Vec<_>>() {
        latencies.extend(load.await??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = resources::of(system);
    latencies.sort_by(f64::total_cmp);
    let quantile = |share: f64| {
        latencies
            .get((latencies.len() as f64 * share) as usize)
            .copied()
            .unwrap_or(f64::NAN)
            * 1e3
    };
    Ok(Measurement {
        requests_per_second: latencies.len() as f64 / seconds,
        p50_ms: quantile(0.50),
        p99_ms: quantile(0.99),
        cpu_us: cpu(&before, &after, latencies.len()),
    })
}

fn cpu(before: &[Usage], after: &[Usage], requests: usize) -> Vec<(&'static str, f64)> {
    let spent = before.iter().zip(after).map(|(before, after)| {
        (
            after.name,
            (after.cpu_seconds - before.cpu_seconds) * 1e6 / requests as f64,
        )
    });
    spent.collect()
}

/// One connection's requests, one after the other; the latencies in seconds.
async fn connection(
    gateway: &Uri,
    path: Path,
    keys: std::ops::Range<usize>,
) -> anyhow::Result<Vec<f64>> {
    let authority = gateway
        .authority()
        .context("the gateway has an address")?
        .as_str();
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let driver = telemetry::task::spawn(connection);
    let mut latencies = Vec::with_capacity(keys.len());
    for key in keys {
        let start = Instant::now();
        send(&mut sender, authority, path, key % WINES + 1).await?;
        latencies.push(start.elapsed().as_secs_f64());
    }
    drop(sender);
    let _ = driver.await;
    Ok(latencies)
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    authority: &str,
    path: Path,
    wine: usize,
) -> anyhow::Result<()> {
    let body = format!(r#"{{"model":"wine_quality","data_ids":["wine-{wine:04}"]}}"#);
    let mut request = Request::post("/v1/predictions")
        .header("host", authority)
        .header("content-type", "application/json");
    if path == Path::Miss {
        request = request.header("cache-control", "no-cache");
    }
    sender.ready().await?;
    let answer = sender
        .send_request(request.body(Full::new(Bytes::from(body)))?)
        .await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if status != StatusCode::OK {
        bail!(
            "the gateway answers {status} under load: {}",
            String::from_utf8_lossy(&body)
        );
    }
    Ok(())
}
