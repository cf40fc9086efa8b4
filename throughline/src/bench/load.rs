//! The load: a fixed number of requests over a few connections, with the latency of each.

use std::time::Instant;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::resources::{self, Usage};
use crate::cli::BenchArgs;
use crate::data_sets;
use crate::up::LocalSystem;

/// Which path through the system is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Answered from the prediction store.
    Hit,
    /// Computed by the model and stored, because the request has `Cache-Control: no-cache`.
    Miss,
    /// One text, sent to the model service.
    Text,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::Hit => "hit",
            Workload::Miss => "miss",
            Workload::Text => "text_sentiment",
        }
    }

    fn service(self, system: &LocalSystem) -> anyhow::Result<Uri> {
        let url = match self {
            Workload::Hit | Workload::Miss => system.gateway()?,
            Workload::Text => system.model_service()?,
        };
        Ok(url.parse()?)
    }

    /// Path and body of a request; `key` tells the requests apart.
    fn request(self, key: usize) -> (&'static str, String) {
        let wine = key % data_sets::WINES as usize + 1;
        match self {
            Workload::Hit | Workload::Miss => (
                "/v1/predictions",
                format!(r#"{{"model":"wine_quality","data_ids":["wine-{wine:04}"]}}"#),
            ),
            Workload::Text => (
                "/v2/models/text_sentiment/infer",
                format!(
                    r#"{{"inputs":[{{"name":"text","shape":[1],"datatype":"BYTES","data":["{} {}"]}}]}}"#,
                    TEXTS[key % TEXTS.len()],
                    TEXTS[key / TEXTS.len() % TEXTS.len()]
                ),
            ),
        }
    }
}

/// Sentences of a usual length, two of which are a text.
const TEXTS: [&str; 5] = [
    "I have had this camera for two weeks now and the pictures are sharp even in low light.",
    "The battery died after a month, and nobody in support could tell me why.",
    "It is small enough for a pocket, the menu is easy, and the price was fair.",
    "The player skips, the screen is hard to read in the sun, and the buttons feel cheap.",
    "Setting it up took five minutes, and everything has worked since.",
];

/// The figures of one load.
#[derive(Debug)]
pub(crate) struct Measurement {
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU time of each process, user and system, in µs per request.
    pub(crate) cpu_us: Vec<(&'static str, f64)>,
}

/// Sends the requests and measures both sides.
pub(crate) async fn run(
    system: &LocalSystem,
    workload: Workload,
    args: &BenchArgs,
) -> anyhow::Result<Measurement> {
    let service = workload.service(system)?;
    if workload == Workload::Hit {
        // Every key once, so that each measured request is a hit.
        connection(&service, workload, 0..data_sets::WINES as usize).await?;
    }
    let before = resources::of(system);
    let start = Instant::now();
    let share = args.requests / args.connections;
    let mut loads = Vec::with_capacity(args.connections);
    for number in 0..args.connections {
        let service = service.clone();
        let keys = number * share..(number + 1) * share;
        loads.push(telemetry::task::spawn(async move {
            connection(&service, workload, keys).await
        }));
    }
    let mut latencies = Vec::with_capacity(args.requests);
    for load in loads {
        latencies.extend(load.await??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = resources::of(system);
    latencies.sort_by(f64::total_cmp);
    Ok(Measurement {
        requests_per_second: latencies.len() as f64 / seconds,
        p50_ms: quantile(&latencies, 0.50) * 1e3,
        p99_ms: quantile(&latencies, 0.99) * 1e3,
        cpu_us: cpu(&before, &after, latencies.len()),
    })
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
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
    service: &Uri,
    workload: Workload,
    keys: std::ops::Range<usize>,
) -> anyhow::Result<Vec<f64>> {
    let authority = service
        .authority()
        .context("the service's URL has no authority")?
        .as_str();
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let driver = telemetry::task::spawn(connection);
    let mut latencies = Vec::with_capacity(keys.len());
    for key in keys {
        let start = Instant::now();
        send(&mut sender, authority, workload, key).await?;
        latencies.push(start.elapsed().as_secs_f64());
    }
    drop(sender);
    let _ = driver.await;
    Ok(latencies)
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    authority: &str,
    workload: Workload,
    key: usize,
) -> anyhow::Result<()> {
    let (path, body) = workload.request(key);
    let mut request = Request::post(path)
        .header("host", authority)
        .header("content-type", "application/json");
    if workload == Workload::Miss {
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
            "{path} answers {status} under load: {}",
            String::from_utf8_lossy(&body)
        );
    }
    Ok(())
}
