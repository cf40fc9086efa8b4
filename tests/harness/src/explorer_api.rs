//! What an explorer in another process has received, read over its API.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use explorer::Trace;
use serde_json::Value;

use crate::client::{Answer, send};

/// The read API of an explorer.
#[derive(Clone, Debug)]
pub struct ExplorerApi {
    url: String,
}

impl ExplorerApi {
    /// The API of the explorer at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into() }
    }

    /// Any path of the API.
    fn get(&self, path: &str) -> Result<Answer> {
        send("GET", &format!("{}{path}", self.url), &[], &[])
    }

    /// The trace as far as it has arrived.
    pub fn trace(&self, trace_id: &str) -> Result<Option<Trace>> {
        let answer = self.get(&format!("/api/traces/{trace_id}"))?;
        match answer.status {
            200 => Ok(Some(Trace::from_otlp(&answer.body)?)),
            404 => Ok(None),
            status => bail!("the explorer answers {status}: {}", answer.text()),
        }
    }

    /// Log records by the parameters of `GET /api/logs`, newest first.
    pub fn logs(&self, query: &str) -> Result<Vec<Value>> {
        self.list(&format!("/api/logs?limit=1000&{query}"), "logs")
    }

    /// The series of one metric.
    fn series(&self, metric: &str) -> Result<Vec<Value>> {
        self.list(&format!("/api/metrics?name={metric}"), "series")
    }

    /// The series of every metric, by its name.
    pub fn metrics(&self) -> Result<BTreeMap<String, Vec<Value>>> {
        let mut metrics = BTreeMap::new();
        for metric in self.list("/api/metrics", "metrics")? {
            let name = metric["name"].as_str().unwrap_or_default();
            metrics.insert(name.to_owned(), self.series(name)?);
        }
        Ok(metrics)
    }

    fn list(&self, path: &str, field: &str) -> Result<Vec<Value>> {
        let answer = self.get(path)?;
        match answer.json()[field].take() {
            Value::Array(entries) if answer.status == 200 => Ok(entries),
            _ => bail!("the explorer answers {}: {}", answer.status, answer.text()),
        }
    }
}
