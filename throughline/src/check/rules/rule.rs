//! The rules of `deploy/elastic/rules`, built in so that what is checked is what is applied.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

/// One for errors, one for latency, one for a field of the model.
pub(super) const RULES: [&str; 3] = ["errors", "latency", "confidence"];

/// A rule as Kibana reads it.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) index: String,
    /// Its query within its window.
    pub(super) query: Value,
    /// It fires above this number of documents.
    pub(super) threshold: u64,
    /// Such as `5m`.
    pub(super) window: String,
    /// How often Kibana runs it.
    pub(super) interval: Duration,
}

impl Rule {
    pub(super) fn read(name: &str) -> anyhow::Result<Self> {
        let file = match name {
            "errors" => include_str!("../../../../deploy/elastic/rules/errors.json"),
            "latency" => include_str!("../../../../deploy/elastic/rules/latency.json"),
            _ => include_str!("../../../../deploy/elastic/rules/confidence.json"),
        };
        Self::parse(file).with_context(|| format!("deploy/elastic/rules/{name}.json"))
    }

    fn parse(file: &str) -> anyhow::Result<Self> {
        let rule: Value = serde_json::from_str(file)?;
        let params = &rule["params"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let query = text(&params["esQuery"]).context("no esQuery")?;
        let query: Value = serde_json::from_str(&query)?;
        let field = text(&params["timeField"]).context("no timeField")?;
        let window = format!(
            "{}{}",
            params["timeWindowSize"]
                .as_u64()
                .context("no timeWindowSize")?,
            text(&params["timeWindowUnit"]).context("no timeWindowUnit")?
        );
        let index = params["index"].as_array().context("no index")?;
        let index: Vec<&str> = index.iter().filter_map(Value::as_str).collect();
        let interval = text(&rule["schedule"]["interval"]).context("no interval")?;
        let within = json!({"range": {field: {"gte": format!("now-{window}")}}});
        Ok(Self {
            id: text(&rule["id"]).context("no id")?,
            index: index.join(","),
            query: json!({"bool": {"filter": [query["query"], within]}}),
            threshold: params["threshold"][0].as_u64().context("no threshold")?,
            window,
            interval: runtime::duration(&interval).map_err(anyhow::Error::msg)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_read_as_kibana_reads_them() -> anyhow::Result<()> {
        for name in RULES {
            let rule = Rule::read(name)?;
            assert!(
                rule.threshold > 0 && rule.interval >= Duration::from_mins(1),
                "{rule:?}"
            );
        }
        let errors = Rule::read("errors")?;
        assert_eq!(
            (errors.threshold, &*errors.window, &*errors.index),
            (5, "5m", "traces-*.otel-*")
        );
        let filters = &errors.query["bool"]["filter"];
        assert_eq!(
            filters[1],
            json!({"range": {"@timestamp": {"gte": "now-5m"}}})
        );
        assert!(filters[0]["bool"]["filter"].is_array(), "{filters}");
        Ok(())
    }
}
