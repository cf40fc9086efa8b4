//! The real gateway process, and what it exported and logged.

use std::collections::BTreeMap;

use harness::{Answer, Collector, Process, SpanData, SpanKind, Trace, send_async};
use serde_json::json;
use tempfile::TempDir;

use crate::fake::Fake;

/// A gateway that exports to a collector of its own.
pub(crate) struct Gateway {
    url: String,
    process: Process,
    collector: Collector,
    _folder: TempDir,
}

/// What a gateway exported and logged.
pub(crate) struct Ended {
    pub(crate) collector: Collector,
    pub(crate) log: String,
}

impl Gateway {
    pub(crate) fn start(fake: &Fake) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("p.db").to_str().unwrap().to_owned();
        Self::start_with(fake, folder, &["--prediction-store", &store])
    }

    /// A gateway with more options; `folder` lives as long as it.
    pub(crate) fn start_with(fake: &Fake, folder: TempDir, options: &[&str]) -> Self {
        let collector = Collector::start();
        let model_service = format!("http://{}", fake.address);
        let mut args = vec![
            "--listen",
            "127.0.0.1:0",
            "--exit-with-parent",
            "--allow-faults",
        ];
        args.extend(["--model-refresh", "50ms", "--model-service", &model_service]);
        args.extend(options);
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.endpoint()),
            ("RUST_LOG", "debug"),
        ];
        let process = Process::start(env!("CARGO_BIN_EXE_gateway"), &args, &variables).unwrap();
        Self {
            url: process.url("server.listening").unwrap(),
            process,
            collector,
            _folder: folder,
        }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answer {
        let url = format!("{}{path}", self.url);
        send_async(method, &url, headers, body).await.unwrap()
    }

    /// Sends a request and returns the connection without waiting for the answer.
    pub(crate) fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> std::net::TcpStream {
        let url = format!("{}{path}", self.url);
        harness::open(method, &url, headers, body.as_bytes()).unwrap()
    }

    /// `POST /v1/predictions` for wines.
    pub(crate) async fn predict(&self, ids: &[&str]) -> Answer {
        let body = json!({"model": "wine_quality", "data_ids": ids}).to_string();
        self.send("POST", "/v1/predictions", &[], body).await
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.output()
    }

    /// Stops it as the end of its parent does.
    pub(crate) fn stop(mut self) -> Ended {
        let exit = self.process.stop().unwrap();
        assert!(exit.success(), "{exit:?}");
        Ended {
            collector: self.collector,
            log: exit.output(),
        }
    }
}

impl Ended {
    /// The trace of an answer.
    pub(crate) fn trace(&self, answer: &Answer) -> Trace {
        self.collector.arrived(&answer.trace_id())
    }

    /// Names, kinds and errors of the trace of an answer, which has no orphan.
    pub(crate) fn tree(&self, answer: &Answer) -> String {
        let trace = self.trace(answer);
        let tree = harness::tree(&trace);
        assert_eq!(trace.orphans().count(), 0, "an orphan in {tree}");
        tree
    }

    /// The SERVER span of an answer.
    pub(crate) fn server(&self, answer: &Answer) -> SpanData {
        let spans = self.trace(answer).spans;
        let mut servers = spans
            .into_iter()
            .filter(|span| span.kind == SpanKind::Server);
        servers.next().unwrap()
    }

    /// The first span with this name in the trace of an answer.
    pub(crate) fn span(&self, answer: &Answer, name: &str) -> SpanData {
        let trace = self.trace(answer);
        let span = trace.span(name).cloned();
        span.unwrap_or_else(|| panic!("no span {name} in {trace:?}"))
    }

    /// The values of a counter by its attributes, each set as `key=value` pairs in order.
    pub(crate) fn counts(&self, metric: &str) -> BTreeMap<String, u64> {
        let series = self.collector.metric(metric);
        series
            .iter()
            .map(|series| {
                let mut pairs: Vec<String> = series
                    .attributes
                    .iter()
                    .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
                    .collect();
                pairs.sort();
                (pairs.join(" "), series.value.as_u64().unwrap())
            })
            .collect()
    }

    /// Everything exported and logged, to search for what must not be there.
    pub(crate) fn everything(&self) -> String {
        format!("{} {}", self.collector.everything(), self.log)
    }

    /// Whether every span but the SERVER spans has a parent: the gateway's work in the background
    /// has no traces of its own.
    pub(crate) fn roots_are_servers(&self) -> bool {
        let spans = self.collector.spans();
        spans
            .iter()
            .all(|span| span.kind == SpanKind::Server || span.parent.is_some())
    }
}

/// The trace and the span of each link.
pub(crate) fn links(span: &SpanData) -> Vec<(String, String)> {
    let links = span.links.iter();
    links
        .map(|link| (link.trace_id.clone(), link.span_id.clone()))
        .collect()
}
