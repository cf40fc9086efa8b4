//! Elasticsearch as the place to look: the data streams that the Collector's exporter writes
//! (`deploy/collector/elastic.yaml`), by the fields that docs/elastic.md names.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use explorer::Trace;
use serde_json::{Value, json};

use super::otlp::{self, ByTrace};
use super::{LogQuery, LogRecord, ServiceMetrics};
use crate::check::json_client::JsonClient;

const TRACES: &str = "traces-*";
const LOGS: &str = "logs-*";
const METRICS: &str = "metrics-*";
const SERVICE: &str = "resource.attributes.service.name";
/// The largest page of a search, and of a trace.
const MAX_DOCUMENTS: usize = 1_000;

/// How long the shard of a new data stream may not be there yet, and how long until the next look.
const NEW_SHARD: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_millis(250);

/// An Elasticsearch cluster.
pub(crate) struct Elasticsearch {
    client: JsonClient,
}

impl Elasticsearch {
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let names = ("Elasticsearch", "--elasticsearch");
        Ok(Self {
            client: JsonClient::new(url, names, Some("ELASTICSEARCH_API_KEY"))?,
        })
    }

    pub(super) async fn services(&self) -> anyhow::Result<BTreeSet<String>> {
        let everything = format!("{TRACES},{LOGS},{METRICS}");
        let body =
            json!({"size": 0, "aggs": {"services": {"terms": {"field": SERVICE, "size": 100}}}});
        let answer = self.search(&everything, &body).await?;
        let buckets = otlp::array(answer["aggregations"]["services"]["buckets"].clone());
        let names = buckets.iter().filter_map(|bucket| bucket["key"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    pub(super) async fn trace(&self, trace_id: &str) -> anyhow::Result<Option<Trace>> {
        let spans = self
            .find(TRACES, &[json!({"term": {"trace_id": trace_id}})])
            .await?;
        if spans.is_empty() {
            return Ok(None);
        }
        otlp::trace(spans.iter().map(resource_span)).map(Some)
    }

    pub(super) async fn recent(&self, service: &str) -> anyhow::Result<Vec<Trace>> {
        let mut traces = ByTrace::new();
        for span in self
            .find(TRACES, &[json!({"term": {SERVICE: service}})])
            .await?
        {
            let trace_id = span["_source"]["trace_id"].as_str().unwrap_or_default();
            let spans = traces.entry(trace_id.to_owned()).or_default();
            spans.push(resource_span(&span));
        }
        traces.into_values().map(otlp::trace).collect()
    }

    pub(super) async fn metrics(&self, service: &str) -> anyhow::Result<ServiceMetrics> {
        let mut metrics = ServiceMetrics::default();
        for document in self
            .find(METRICS, &[json!({"term": {SERVICE: service}})])
            .await?
        {
            metrics.newest = metrics.newest.max(time(&document));
            let fields = document["_source"]["metrics"].as_object();
            metrics
                .names
                .extend(fields.into_iter().flat_map(|fields| fields.keys().cloned()));
        }
        Ok(metrics)
    }

    pub(super) async fn logs(&self, wanted: &LogQuery<'_>) -> anyhow::Result<Vec<LogRecord>> {
        let mut filters = Vec::new();
        filters.extend(
            wanted
                .service
                .map(|service| json!({"term": {SERVICE: service}})),
        );
        filters.extend(wanted.trace_id.map(|id| json!({"term": {"trace_id": id}})));
        filters.extend(wanted.attribute.map(has_attribute));
        let found = self.find(LOGS, &filters).await?;
        Ok(found.iter().map(record).collect())
    }

    /// How many documents of `index` match `query`.
    pub(crate) async fn count(&self, index: &str, query: &Value) -> anyhow::Result<u64> {
        let body = json!({"size": 0, "track_total_hits": true, "query": query});
        let answer = self.search(index, &body).await?;
        Ok(answer["hits"]["total"]["value"]
            .as_u64()
            .unwrap_or_default())
    }

    /// The newest documents that pass all filters.
    async fn find(&self, index: &str, filters: &[Value]) -> anyhow::Result<Vec<Value>> {
        let body = json!({
            "size": MAX_DOCUMENTS,
            "query": {"bool": {"filter": filters}},
            "sort": [{"@timestamp": {"order": "desc", "unmapped_type": "date_nanos"}}],
            // One format, whatever the exporter wrote and the mapping made of it.
            "docvalue_fields": [{"field": "@timestamp", "format": "epoch_millis"}],
        });
        let mut answer = self.search(index, &body).await?;
        Ok(otlp::array(answer["hits"]["hits"].take()))
    }

    async fn search(&self, index: &str, body: &Value) -> anyhow::Result<Value> {
        let path = format!("/{index}/_search?ignore_unavailable=true&allow_no_indices=true");
        let deadline = Instant::now() + NEW_SHARD;
        loop {
            let answer = self.client.post(&path, body).await?.unwrap_or_default();
            if answer["_shards"]["failed"] == 0 && answer["timed_out"] != true {
                return Ok(answer);
            }
            ensure!(
                Instant::now() < deadline,
                "the search in {index} is not complete: {}",
                answer["_shards"]
            );
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Whether a document has this attribute. A text longer than the mapping's `ignore_above` is not
/// indexed, as a stack with its frames: `exists` passes over it, and `_ignored` has its name.
fn has_attribute(name: &str) -> Value {
    let field = format!("attributes.{name}");
    let indexed = json!({"exists": {"field": field}});
    let too_long = json!({"term": {"_ignored": field}});
    json!({"bool": {"should": [indexed, too_long]}})
}

/// A span's document as one of OTLP.
fn resource_span(document: &Value) -> Value {
    let source = &document["_source"];
    let start = time(document);
    let end = start + source["duration"].as_u64().unwrap_or_default();
    let links = otlp::array(source["links"].clone());
    let links: Vec<Value> = links
        .iter()
        .map(|link| json!({"traceId": link["trace_id"], "spanId": link["span_id"]}))
        .collect();
    json!({
        "resource": {"attributes": otlp::key_values(&source["resource"]["attributes"])},
        "scopeSpans": [{"spans": [{
            "traceId": text(&source["trace_id"]),
            "spanId": text(&source["span_id"]),
            "parentSpanId": text(&source["parent_span_id"]),
            "name": text(&source["name"]),
            "kind": kind(text(&source["kind"])),
            "startTimeUnixNano": start.to_string(),
            "endTimeUnixNano": end.to_string(),
            "status": {"code": status(&source["status"]), "message": text(&source["status"]["message"])},
            "attributes": otlp::key_values(&source["attributes"]),
            "links": links,
        }]}],
    })
}

/// The numbers of OTLP's `SpanKind`.
fn kind(name: &str) -> u8 {
    match name {
        "Internal" => 1,
        "Server" => 2,
        "Client" => 3,
        "Producer" => 4,
        "Consumer" => 5,
        _ => 0,
    }
}

/// The numbers of OTLP's `StatusCode`.
fn status(status: &Value) -> u8 {
    match text(&status["code"]) {
        "Ok" => 1,
        "Error" => 2,
        _ => 0,
    }
}

fn record(document: &Value) -> LogRecord {
    let source = &document["_source"];
    let attributes = source["attributes"].as_object().cloned();
    LogRecord {
        service: text(&source["resource"]["attributes"]["service.name"]).to_owned(),
        event_name: text(&source["event_name"]).to_owned(),
        time: time(document),
        attributes: attributes.unwrap_or_default().into_iter().collect(),
    }
}

/// The time of a document in nanoseconds since 1970. Elasticsearch writes milliseconds with a
/// fraction.
fn time(document: &Value) -> u64 {
    let time = text(&document["fields"]["@timestamp"][0]);
    let (milliseconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    let nanoseconds = format!("{milliseconds}{fraction:0<6.6}");
    nanoseconds.parse().unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_nanoseconds() {
        let at = |time: &str| super::time(&json!({"fields": {"@timestamp": [time]}}));
        assert_eq!(at("1764247811000.123456"), 1_764_247_811_000_123_456);
        assert_eq!(at("1764247811000.1"), 1_764_247_811_000_100_000);
        assert_eq!(at("1764247811000"), 1_764_247_811_000_000_000);
        assert_eq!(at(""), 0);
    }

    #[test]
    fn documents_of_spans_become_a_tree() -> anyhow::Result<()> {
        let span = |id: &str, parent: &str, kind: &str| {
            json!({
                "_source": {
                    "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": id, "parent_span_id": parent,
                    "name": kind, "kind": kind, "duration": 1_500, "status": {"code": "Error", "message": "no"},
                    "attributes": {"ml.batch_size": 1, "ml.output.confidence": 0.5, "ml.run_id": "r"},
                    "resource": {"attributes": {"service.name": "gateway"}},
                },
                "fields": {"@timestamp": ["1764247811000.000001"]},
            })
        };
        let documents = [
            span("b7ad6b7169203331", "00f067aa0ba902b7", "Client"),
            span("00f067aa0ba902b7", "", "Server"),
        ];
        let trace = otlp::trace(documents.iter().map(resource_span))?;
        assert!(trace.is_complete());
        assert_eq!(
            explorer::tree::outline(&trace),
            "Server SERVER gateway\n  Client CLIENT gateway\n"
        );
        let child = trace.span("Client").expect("it is there");
        assert_eq!((child.duration(), child.is_error()), (1_500, true));
        assert_eq!(child.attributes["ml.output.confidence"], json!(0.5));
        assert_eq!(child.attributes["ml.batch_size"], json!(1));
        Ok(())
    }
}
