//! An OTLP receiver for a test: the explorer, in this process.

use std::net::SocketAddr;
use std::ops::Deref;
use std::thread::JoinHandle;

use anyhow::Result;
use clap::Parser;
use explorer::{Config, Explorer, Reader, SpanData, Trace};
use runtime::{Shutdown, Trigger};
use tokio::net::TcpListener;

use crate::client::{Answer, send};

/// An explorer on free ports. It stops when this is dropped.
///
/// An exporter's request is answered when its content is stored, so what a process has exported
/// before its end can be read after it.
pub struct Collector {
    reader: Reader,
    page: SocketAddr,
    otlp: SocketAddr,
    trigger: Option<Trigger>,
    thread: Option<JoinHandle<()>>,
}

/// A span and the id of its trace.
#[derive(Clone, Debug)]
pub struct TracedSpan {
    pub trace_id: String,
    pub span: SpanData,
}

impl Deref for TracedSpan {
    type Target = SpanData;

    fn deref(&self) -> &SpanData {
        &self.span
    }
}

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    config: Config,
}

impl Collector {
    /// An explorer with its defaults.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// An explorer with options of its command line.
    pub fn start_with(options: &[&str]) -> Self {
        let config = Options::parse_from([&["explorer"], options].concat()).config;
        let explorer = Explorer::new(config);
        let reader = explorer.reader();
        let (trigger, shutdown) = Shutdown::pair();
        let (sender, addresses) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let page = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let otlp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let addresses = [&page, &otlp].map(TcpListener::local_addr);
                sender.send(addresses).expect("the test waits");
                explorer
                    .serve(page, otlp, shutdown)
                    .await
                    .expect("the explorer runs and drains");
            });
        });
        let [page, otlp] = addresses
            .recv()
            .expect("the explorer starts")
            .map(|address| address.expect("an address"));
        Self {
            reader,
            page,
            otlp,
            trigger: Some(trigger),
            thread: Some(thread),
        }
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.otlp)
    }

    /// Where the API and the page are.
    pub fn url(&self) -> String {
        format!("http://{}", self.page)
    }

    /// A read over the API.
    pub fn get(&self, path: &str) -> Result<Answer> {
        send("GET", &format!("{}{path}", self.url()), &[], &[])
    }

    /// The spans of every trace that has arrived.
    pub fn spans(&self) -> Vec<TracedSpan> {
        self.traces()
            .into_iter()
            .flat_map(|trace| {
                let trace_id = trace.trace_id;
                trace.spans.into_iter().map(move |span| TracedSpan {
                    trace_id: trace_id.clone(),
                    span,
                })
            })
            .collect()
    }

    /// The one span with this name.
    #[track_caller]
    pub fn span(&self, name: &str) -> TracedSpan {
        self.only_span(name, |span| span.name == name)
    }

    /// The one span that `wanted` accepts.
    #[track_caller]
    pub fn only_span(&self, what: &str, wanted: impl Fn(&SpanData) -> bool) -> TracedSpan {
        let (mut found, others): (Vec<_>, Vec<_>) =
            self.spans().into_iter().partition(|span| wanted(span));
        assert_eq!(
            found.len(),
            1,
            "spans {what}: {found:#?}, others: {others:#?}"
        );
        found.remove(0)
    }

    /// The trace with this id, which has arrived.
    #[track_caller]
    pub fn arrived(&self, trace_id: &str) -> Trace {
        self.trace(trace_id)
            .unwrap_or_else(|| panic!("trace {trace_id} has not arrived"))
    }

    /// Everything that has arrived as one text, to search for what must not be exported.
    pub fn everything(&self) -> String {
        let metrics: Vec<_> = self
            .metric_names()
            .iter()
            .map(|name| self.metric(name))
            .collect();
        format!("{:?}{:?}{metrics:?}", self.traces(), self.logs())
    }
}

impl Deref for Collector {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.trigger.take());
        let ended = self.thread.take().map(JoinHandle::join);
        // A panic of the explorer fails the test, unless the test fails already.
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking());
    }
}
