//! A client of the explorer's read API.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use explorer::rules::RulesReport;
use explorer::{LogEntry, MetricSeries, ServiceSummary, Trace, TraceSummary};
use http::{Request, StatusCode};
use runtime::without_secrets;
use serde_json::Value;
use telemetry::client::HttpClient;

const TIMEOUT: Duration = Duration::from_secs(5);
/// How often the pages of a trace that still grows are read.
const TRIES: u32 = 3;

/// The pages of one trace.
struct Pages {
    documents: Vec<Bytes>,
    /// Whether the trace did not grow while they were read.
    stable: bool,
}

/// The fields of a page that lead to the next one.
#[derive(serde::Deserialize)]
struct PagedDocument {
    page: Option<Page>,
}

#[derive(serde::Deserialize)]
struct Page {
    total: usize,
    next: Option<usize>,
}

/// A client of one explorer.
pub(crate) struct ExplorerClient {
    http: HttpClient,
    url: String,
}

impl ExplorerClient {
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        Ok(Self {
            http: crate::client::explorer()?,
            url: url.trim_end_matches('/').to_owned(),
        })
    }

    /// The trace, or `None` as long as none of it has arrived.
    pub(crate) async fn trace(&self, trace_id: &str) -> anyhow::Result<Option<Trace>> {
        for attempt in 1..=TRIES {
            let Some(pages) = self.pages(trace_id).await? else {
                return Ok(None);
            };
            if pages.stable || attempt == TRIES {
                let documents = pages.documents.iter().map(|page| &page[..]);
                let trace = Trace::from_otlp_pages(documents);
                return trace
                    .context("the explorer's answer is not a trace")
                    .map(Some);
            }
        }
        Ok(None)
    }

    /// The trace as OTLP/JSON, or `None` if it is not there.
    pub(crate) async fn otlp(&self, trace_id: &str) -> anyhow::Result<Option<Value>> {
        for attempt in 1..=TRIES {
            let Some(pages) = self.pages(trace_id).await? else {
                return Ok(None);
            };
            if pages.stable || attempt == TRIES {
                let documents = pages.documents.iter().map(|page| &page[..]);
                let document = explorer::export::otlp(documents);
                return document
                    .context("the explorer's answer is not JSON")
                    .map(Some);
            }
        }
        Ok(None)
    }

    /// All pages of a trace. The pages of a trace that grows meanwhile may overlap.
    async fn pages(&self, trace_id: &str) -> anyhow::Result<Option<Pages>> {
        let mut pages = Pages {
            documents: Vec::new(),
            stable: true,
        };
        let (mut offset, mut total) = (0, None);
        loop {
            let path = format!("/api/traces/{trace_id}?offset={offset}");
            let body = match self.get(&path).await? {
                (StatusCode::NOT_FOUND, _) => return Ok(None),
                (StatusCode::OK, body) => body,
                (status, body) => bail!(
                    "the explorer answers {status}: {}",
                    String::from_utf8_lossy(&body)
                ),
            };
            let document: PagedDocument =
                serde_json::from_slice(&body).context("the explorer's answer is not JSON")?;
            pages.documents.push(body);
            let Some(page) = document.page else {
                pages.stable &= total.is_none();
                return Ok(Some(pages));
            };
            pages.stable &= total.is_none_or(|total| total == page.total);
            total = Some(page.total);
            match page.next {
                Some(next) if next > offset => offset = next,
                _ => return Ok(Some(pages)),
            }
        }
    }

    /// The newest traces that match `query`, such as `limit=20&service=gateway`.
    pub(crate) async fn traces(&self, query: &str) -> anyhow::Result<Vec<TraceSummary>> {
        let mut answer = self.read(&format!("/api/traces?{query}")).await?;
        serde_json::from_value(answer["traces"].take())
            .context("the explorer's answer is not a list of traces")
    }

    /// What is different about some of the traces that match `query`.
    pub(crate) async fn difference(&self, query: &str) -> anyhow::Result<Value> {
        self.read(&format!("/api/difference?{query}")).await
    }

    /// One model: its variants with their stages, versions, trainings, inputs.
    pub(crate) async fn model(&self, name: &str) -> anyhow::Result<Value> {
        self.read(&format!("/api/models/{name}")).await
    }

    /// The series of one metric.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<Vec<MetricSeries>> {
        let mut answer = self.read(&format!("/api/metrics?name={name}")).await?;
        serde_json::from_value(answer["series"].take())
            .context("the explorer's answer is not a list of series")
    }

    /// The names of all metrics.
    pub(crate) async fn metric_names(&self) -> anyhow::Result<Vec<String>> {
        let answer = self.read("/api/metrics").await?;
        let metrics = answer["metrics"].as_array();
        let metrics = metrics.context("the explorer's answer is not a list of metrics")?;
        let names = metrics.iter().filter_map(|metric| metric["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    /// What is stored of each service.
    pub(crate) async fn services(&self) -> anyhow::Result<Vec<ServiceSummary>> {
        let mut answer = self.read("/api/services").await?;
        serde_json::from_value(answer["services"].take())
            .context("the explorer's answer is not a list of services")
    }

    /// The newest log records that match `query`, such as `limit=20&trace_id=…`.
    pub(crate) async fn logs(&self, query: &str) -> anyhow::Result<Vec<LogEntry>> {
        let mut answer = self.read(&format!("/api/logs?{query}")).await?;
        serde_json::from_value(answer["logs"].take())
            .context("the explorer's answer is not a list of log records")
    }

    /// The rules with their states.
    pub(crate) async fn rules(&self) -> anyhow::Result<RulesReport> {
        serde_json::from_value(self.read("/api/rules").await?)
            .context("the explorer's answer is not a report of rules")
    }

    async fn read(&self, path: &str) -> anyhow::Result<Value> {
        match self.get(path).await? {
            (StatusCode::OK, body) => {
                serde_json::from_slice(&body).context("the explorer's answer is not JSON")
            }
            (status, body) => bail!(
                "the explorer answers {status} to {path}: {}",
                String::from_utf8_lossy(&body)
            ),
        }
    }

    async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = Request::get(format!("{}{path}", self.url)).body(Bytes::new())?;
        let answer = self.http.send(request, TIMEOUT).await.with_context(|| {
            format!(
                "the explorer does not answer at {}; start it with `throughline up`, or name another with --explorer",
                without_secrets(&self.url)
            )
        })?;
        Ok((answer.status(), answer.into_body()))
    }
}
