//! Jaeger as the place to look, by its stable HTTP API (`/api/v3`, OTLP in JSON).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use explorer::Trace;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Deserializer, Value};

use super::otlp;
use crate::check::json_client::JsonClient;

/// How many traces of a service are read.
const RECENT: usize = 50;
/// How far back a search reaches; Jaeger wants a range.
const RANGE: SignedDuration = SignedDuration::from_hours(24 * 7);

/// A Jaeger query service.
pub(crate) struct Jaeger {
    client: JsonClient,
}

impl Jaeger {
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        Ok(Self {
            client: JsonClient::new(url, ("Jaeger", "--jaeger"), None)?,
        })
    }

    pub(super) async fn services(&self) -> anyhow::Result<BTreeSet<String>> {
        let answer = self.client.get("/api/v3/services").await?;
        let answer = answer.context(
            "this is no Jaeger 2: it has no /api/v3/services; name its query service with --jaeger",
        )?;
        let answer = self.client.parse(&answer)?;
        Ok(otlp::texts(&answer["services"]))
    }

    pub(super) async fn trace(&self, trace_id: &str) -> anyhow::Result<Option<Trace>> {
        let answer = self
            .client
            .get(&format!("/api/v3/traces/{trace_id}"))
            .await?;
        let Some(answer) = answer else {
            return Ok(None);
        };
        Ok(traces(&answer)?.pop())
    }

    pub(super) async fn recent(&self, service: &str) -> anyhow::Result<Vec<Trace>> {
        let now = Timestamp::now();
        let path = format!(
            "/api/v3/traces?query.service_name={service}&query.start_time_min={:.0}&query.start_time_max={:.0}&query.search_depth={RECENT}",
            now - RANGE,
            // Whole seconds are cut off, so that the last one is in the range.
            now + SignedDuration::from_secs(1),
        );
        match self.client.get(&path).await? {
            Some(answer) => traces(&answer),
            None => Ok(Vec::new()),
        }
    }
}

/// The traces of an answer: one or more documents `{"result": {"resourceSpans": […]}}`, each with
/// spans of any traces.
fn traces(answer: &[u8]) -> anyhow::Result<Vec<Trace>> {
    let mut spans = BTreeMap::new();
    for document in Deserializer::from_slice(answer).into_iter::<Value>() {
        let mut document = document.context("the answer of Jaeger is not JSON")?;
        otlp::by_trace(document["result"]["resourceSpans"].take(), &mut spans);
    }
    spans.into_values().map(otlp::trace).collect()
}
