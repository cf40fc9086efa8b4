//! The same conditions in three places: the explorer's default rules, the rules for Kibana, and the
//! file for Prometheus, which is made of the first.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use explorer::rules::{DEFAULT_RULES, RuleSet};
use serde_json::Value;

use super::files::{Rule, objects, root};

/// Rules of the explorer that Kibana does not have: on names of spans, of which there are many, and
/// on feedback, which few have.
const ONLY_HERE: [&str; 2] = ["stage-latency", "quality"];

/// The number of the only range in a query, in the explorer's unit.
fn item(query: &Value) -> Option<f64> {
    match query {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let range = value.as_object().filter(|_| name == "range");
            let found = range.and_then(|range| {
                let (field, limits) = range.iter().next()?;
                let limit = limits.as_object()?.values().next()?.as_f64()?;
                // Documents have nanoseconds.
                Some(if field == "duration" {
                    limit / 1e9
                } else {
                    limit
                })
            });
            found.or_else(|| item(value))
        }),
        Value::Array(items) => items.iter().find_map(item),
        _ => None,
    }
}

#[test]
fn the_explorers_rules_have_the_numbers_of_kibanas() -> Result<()> {
    let set = RuleSet::parse(DEFAULT_RULES)?;
    let ours: BTreeSet<_> = set
        .facts()
        .map(|facts| facts.name.to_owned())
        .filter(|name| !ONLY_HERE.contains(&name.as_str()))
        .collect();
    assert_eq!(ours, Rule::names()?);
    let kibana = objects("rules")?;
    for facts in set.facts().filter(|facts| ours.contains(facts.name)) {
        let rule = Rule::read(facts.name)?;
        assert_eq!(
            kibana[facts.name]["name"],
            format!("Throughline: {}", facts.summary)
        );
        assert_eq!(
            (rule.threshold(), rule.window().as_secs()),
            (facts.more_than, facts.window_seconds),
            "{}",
            facts.name
        );
        assert_eq!(item(&rule.query()?), facts.item, "{}", facts.name);
    }
    Ok(())
}

#[test]
fn the_file_for_prometheus_is_made_of_the_explorers_rules() -> Result<()> {
    let file = root().join("deploy/compose/prometheus/rules.yaml");
    let made = RuleSet::parse(DEFAULT_RULES)?.prometheus();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &made)?;
    }
    let committed = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    assert_eq!(
        committed, made,
        "write it: throughline rules --prometheus >deploy/compose/prometheus/rules.yaml"
    );
    // Each alert is there, and tested by promtool with values that fire it.
    let parsed: Value = serde_saphyr::from_str(&committed)?;
    let alerts = parsed["groups"][0]["rules"].as_array().context("rules")?;
    let alerts: BTreeSet<_> = alerts
        .iter()
        .filter_map(|rule| rule["alert"].as_str())
        .collect();
    let tests = root().join("deploy/compose/prometheus/alerts-test.yaml");
    let tests: Value = serde_saphyr::from_str(&std::fs::read_to_string(tests)?)?;
    let fired: BTreeSet<_> = tests["tests"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|test| test["alert_rule_test"].as_array().into_iter().flatten())
        .filter(|expected| expected.get("exp_alerts").is_some())
        .filter_map(|expected| expected["alertname"].as_str())
        .collect();
    let never: Vec<_> = alerts.difference(&fired).collect();
    assert!(never.is_empty(), "no test of promtool fires {never:?}");
    assert_eq!(alerts.len(), 6, "{alerts:?}");
    Ok(())
}
