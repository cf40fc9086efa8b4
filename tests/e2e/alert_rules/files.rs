//! The files in `deploy/elastic`: they are complete, agree with one another, and use names that we
//! emit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Fields of the Collector's documents that are no attributes.
const FIELDS: [&str; 6] = [
    "@timestamp",
    "duration",
    "event_name",
    "kind",
    "name",
    "status.code",
];

/// The parameters of the rule type `.es-query` for this kind of query. A rule sets all of them, so
/// that no default can change.
const PARAMS: [&str; 12] = [
    "aggType",
    "esQuery",
    "excludeHitsFromPreviousRun",
    "groupBy",
    "index",
    "searchType",
    "size",
    "threshold",
    "thresholdComparator",
    "timeField",
    "timeWindowSize",
    "timeWindowUnit",
];

/// One rule file.
#[derive(Debug)]
pub(crate) struct Rule(Value);

impl Rule {
    pub(crate) fn read(name: &str) -> Result<Self> {
        let rules = objects("rules")?;
        Ok(Self(
            rules
                .get(name)
                .with_context(|| format!("no rule {name}"))?
                .clone(),
        ))
    }

    pub(crate) fn names() -> Result<BTreeSet<String>> {
        Ok(objects("rules")?.into_keys().collect())
    }

    /// The query without the window.
    pub(crate) fn query(&self) -> Result<Value> {
        Ok(serde_json::from_str(text(&self.0["params"]["esQuery"])?)?)
    }

    pub(crate) fn patterns(&self) -> Vec<String> {
        let patterns = self.0["params"]["index"].as_array().into_iter().flatten();
        patterns
            .filter_map(|pattern| pattern.as_str().map(str::to_owned))
            .collect()
    }

    pub(crate) fn time_field(&self) -> &str {
        self.0["params"]["timeField"].as_str().unwrap_or_default()
    }

    /// How far back the rule looks.
    pub(crate) fn window(&self) -> Duration {
        let params = &self.0["params"];
        let text = format!(
            "{}{}",
            params["timeWindowSize"],
            params["timeWindowUnit"].as_str().unwrap_or_default()
        );
        interval(&text).unwrap_or_default()
    }

    /// More matches than this fire.
    pub(crate) fn threshold(&self) -> u64 {
        self.0["params"]["threshold"][0]
            .as_u64()
            .unwrap_or_default()
    }

    pub(crate) fn fires(&self, matches: usize) -> bool {
        u64::try_from(matches).is_ok_and(|matches| matches > self.threshold())
    }
}

/// `5m` and so on.
fn interval(text: &str) -> Result<Duration> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => bail!("{text} has no unit"),
    };
    Ok(Duration::from_secs(number.parse::<u64>()? * seconds))
}

fn text(value: &Value) -> Result<&str> {
    value
        .as_str()
        .with_context(|| format!("{value} is no text"))
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of a folder of `deploy/elastic`, by their names.
pub(crate) fn objects(kind: &str) -> Result<BTreeMap<String, Value>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("deploy/elastic").join(kind))? {
        let file = entry?.path();
        let name = file
            .file_stem()
            .context("a file has a name")?
            .to_string_lossy()
            .into_owned();
        let object = serde_json::from_str(&std::fs::read_to_string(&file)?)
            .with_context(|| format!("{kind}/{name}"))?;
        found.insert(name, object);
    }
    ensure!(!found.is_empty(), "deploy/elastic/{kind} is empty");
    Ok(found)
}

/// Names of attributes, metrics and events in `telemetry/registry`.
fn registry() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("telemetry/registry"))? {
        let document: Value = serde_saphyr::from_str(&std::fs::read_to_string(entry?.path())?)?;
        for group in document["groups"].as_array().into_iter().flatten() {
            let attributes = group["attributes"].as_array().into_iter().flatten();
            let attributes = attributes.flat_map(|attribute| [&attribute["id"], &attribute["ref"]]);
            let all = attributes.chain([&group["name"], &group["metric_name"]]);
            names.extend(all.filter_map(Value::as_str).map(str::to_owned));
        }
    }
    Ok(names)
}

/// Whether documents can have this field.
fn is_known(field: &str, registry: &BTreeSet<String>) -> bool {
    if FIELDS.contains(&field) {
        return true;
    }
    let name = ["resource.attributes.", "attributes.", "metrics."]
        .iter()
        .find_map(|start| field.strip_prefix(start));
    name.is_some_and(|name| registry.contains(name))
}

/// Kibana accepts no other ids for objects that it encrypts.
fn is_uuid(id: &str) -> bool {
    let parts: Vec<_> = id.split('-').map(str::len).collect();
    let digits = id
        .chars()
        .all(|c| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c));
    parts == [8, 4, 4, 4, 12] && digits && id.as_bytes()[14] == b'4'
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect()
}

/// The clauses of a rule's query: each is a filter, since only those are free of scores, scripts
/// and analysis.
fn clauses(query: &Value) -> Result<Vec<(String, Value)>> {
    ensure!(
        keys(query) == ["query"] && keys(&query["query"]) == ["bool"],
        "{query} is more than one `bool`"
    );
    ensure!(
        keys(&query["query"]["bool"]) == ["filter"],
        "{query} is more than filters"
    );
    let filters = query["query"]["bool"]["filter"]
        .as_array()
        .context("filters are a list")?;
    let mut found = Vec::new();
    for filter in filters {
        ensure!(
            matches!(keys(filter)[..], ["term" | "range"]),
            "{filter} is neither term nor range"
        );
        for clause in filter
            .as_object()
            .into_iter()
            .flat_map(|filter| filter.values())
        {
            found.extend(
                clause
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(field, value)| (field.clone(), value.clone())),
            );
        }
    }
    Ok(found)
}

fn check_rule(
    rule: &Value,
    connectors: &BTreeSet<String>,
    registry: &BTreeSet<String>,
) -> Result<()> {
    let fields = [
        "actions",
        "consumer",
        "enabled",
        "id",
        "name",
        "params",
        "rule_type_id",
        "schedule",
        "tags",
    ];
    let mut present = keys(rule);
    present.sort_unstable();
    ensure!(present == fields, "it has {present:?}");
    ensure!(is_uuid(text(&rule["id"])?), "its id is no UUID");
    ensure!(rule["rule_type_id"] == ".es-query", "another type");
    ensure!(
        ["logs", "stackAlerts"].contains(&text(&rule["consumer"])?),
        "another consumer"
    );

    let params = &rule["params"];
    let mut present = keys(params);
    present.sort_unstable();
    ensure!(present == PARAMS, "its parameters are {present:?}");
    ensure!(
        params["searchType"] == "esQuery"
            && params["aggType"] == "count"
            && params["groupBy"] == "all"
    );
    // The tests of the queries rely on it.
    ensure!(params["thresholdComparator"] == ">" && params["timeField"] == "@timestamp");
    ensure!(
        params["threshold"]
            .as_array()
            .is_some_and(|list| list.len() == 1 && list[0].is_u64()),
        "one whole number"
    );
    ensure!(
        params["size"].as_u64().is_some_and(|size| size <= 10_000),
        "more documents than Kibana takes"
    );
    let rule_itself = Rule(rule.clone());
    let (window, every) = (
        rule_itself.window(),
        interval(text(&rule["schedule"]["interval"])?)?,
    );
    ensure!(
        window > every,
        "a window of {window:?} every {every:?} leaves gaps"
    );
    ensure!(
        rule_itself.threshold() == 0 || params["excludeHitsFromPreviousRun"] == false,
        "counts only new matches"
    );
    for pattern in rule_itself.patterns() {
        let signals = ["traces-*.otel-*", "logs-*.otel-*", "metrics-*.otel-*"];
        ensure!(
            signals.contains(&pattern.as_str()),
            "{pattern} holds no OpenTelemetry data"
        );
    }
    ensure!(!rule_itself.patterns().is_empty(), "it looks nowhere");

    for (field, value) in clauses(&rule_itself.query()?)? {
        ensure!(
            is_known(&field, registry),
            "{field} is not in telemetry/registry"
        );
        ensure!(
            field != "event_name" || registry.contains(text(&value)?),
            "no event {value}"
        );
    }
    let actions = rule["actions"].as_array().context("a rule has actions")?;
    ensure!(!actions.is_empty(), "nobody would hear of it");
    for action in actions {
        ensure!(
            connectors.contains(text(&action["id"])?),
            "no connector {}",
            action["id"]
        );
        ensure!(action["group"] == "query matched" && action["frequency"]["summary"] == false);
    }
    Ok(())
}

#[test]
fn the_rules_are_complete_and_of_names_that_we_emit() -> Result<()> {
    let registry = registry()?;
    let mut connectors = BTreeSet::new();
    for (name, connector) in objects("connectors")? {
        let mut present = keys(&connector);
        present.sort_unstable();
        ensure!(
            present == ["config", "connector_type_id", "id", "name", "secrets"],
            "{name} has {present:?}"
        );
        ensure!(
            connector["secrets"] == serde_json::json!({}),
            "{name} has secrets"
        );
        ensure!(
            [".server-log", ".index"].contains(&text(&connector["connector_type_id"])?),
            "{name} needs a licence"
        );
        let id = text(&connector["id"])?;
        ensure!(
            is_uuid(id) && connectors.insert(id.to_owned()),
            "the id of {name} is no UUID or taken"
        );
    }
    let mut ids = connectors.clone();
    for (name, rule) in objects("rules")? {
        check_rule(&rule, &connectors, &registry).with_context(|| format!("rule {name}"))?;
        ensure!(
            ids.insert(text(&rule["id"])?.to_owned()),
            "two objects have the id of {name}"
        );
    }
    Ok(())
}

/// Words of an ES|QL query that are fields of documents rather than names of its own.
fn fields(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || "._@".contains(c)));
    let starts = [
        "resource.attributes.",
        "attributes.",
        "metrics.",
        "status.",
        "@",
    ];
    words.filter(move |word| starts.iter().any(|start| word.starts_with(start)))
}

/// All data sources below a value, each with the columns that its chart names.
fn charts(config: &Value) -> Vec<(&str, Vec<&str>)> {
    let layers = config["layers"]
        .as_array()
        .map_or_else(|| vec![config], |layers| layers.iter().collect());
    let mut found = Vec::new();
    for layer in layers {
        let lists = [&layer["metrics"], &layer["y"]]
            .into_iter()
            .filter_map(Value::as_array)
            .flatten();
        let columns = lists
            .chain([&layer["x"], &layer["breakdown_by"]])
            .filter_map(|axis| axis["column"].as_str());
        found.push((
            layer["data_source"]["query"].as_str().unwrap_or_default(),
            columns.collect(),
        ));
    }
    found
}

#[test]
fn the_dashboard_shows_names_that_we_emit_and_its_panels_fit() -> Result<()> {
    let registry = registry()?;
    for (name, dashboard) in objects("dashboards")? {
        let panels = dashboard["panels"]
            .as_array()
            .context("a dashboard has panels")?;
        let mut taken = BTreeSet::new();
        for panel in panels {
            let side = |side: &str| {
                panel["grid"][side]
                    .as_u64()
                    .with_context(|| format!("{panel} has no {side}"))
            };
            let (x, y, w, h) = (side("x")?, side("y")?, side("w")?, side("h")?);
            ensure!(x + w <= 48, "{name}: {panel} is off the grid");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                ensure!(taken.insert(cell), "{name}: {panel} lies over another");
            }
            for (query, columns) in charts(&panel["config"]) {
                ensure!(
                    query.starts_with("FROM ") && query.contains("?_tstart"),
                    "{name}: {query:?} ignores the time"
                );
                for field in fields(query) {
                    ensure!(
                        is_known(field, &registry),
                        "{name}: {field} is not in telemetry/registry"
                    );
                }
                ensure!(!columns.is_empty(), "{name}: {panel} shows nothing");
                for column in columns {
                    ensure!(
                        query.contains(column),
                        "{name}: {column} is no column of {query}"
                    );
                }
            }
        }
    }
    Ok(())
}
