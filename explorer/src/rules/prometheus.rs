//! The same rules as a file for Prometheus, as far as they are on metrics that it has.

use std::fmt::Write as _;
use std::time::Duration;

use super::RuleSet;
use super::rule::{Condition, PrometheusRule, Rule};

/// Rules without `PromQL` are named in a comment, so that nobody believes they are there.
pub(super) fn file(rules: &RuleSet) -> String {
    let mut text =
        "# Made by `throughline rules --prometheus`; change the file of rules instead.\n"
            .to_owned();
    let missing = rules.rules.iter().filter(|rule| rule.prometheus.is_none());
    for rule in missing {
        let _ = writeln!(
            text,
            "# Not here, since it is about spans or log records only: {}",
            rule.name
        );
    }
    text.push_str("groups:\n  - name: throughline-rules\n    rules:\n");
    let mut none = true;
    for rule in &rules.rules {
        if let Some(query) = &rule.prometheus {
            write_rule(&mut text, rule, query);
            none = false;
        }
    }
    if none {
        text.truncate(text.len() - 1);
        text.push_str(" []\n");
    }
    text
}

fn write_rule(text: &mut String, rule: &Rule, query: &PrometheusRule) {
    let _ = writeln!(text, "      - alert: {}", quoted(&query.alert));
    text.push_str("        expr: |\n");
    for line in filled(&query.expr, rule).trim().lines() {
        let _ = writeln!(text, "          {}", line.trim());
    }
    for (name, time) in [("for", rule.pending), ("keep_firing_for", rule.keep_firing)] {
        if time > Duration::ZERO {
            let _ = writeln!(text, "        {name}: {}", duration(time));
        }
    }
    let _ = writeln!(
        text,
        "        labels: {{severity: {}, rule: {}}}",
        rule.severity.as_str(),
        rule.name
    );
    let summary = query.summary.as_ref().unwrap_or(&rule.summary);
    let summary = quoted(&filled(summary, rule));
    let _ = writeln!(text, "        annotations:\n          summary: {summary}");
    if let Some(action) = &rule.action {
        let _ = writeln!(text, "          action: {}", quoted(action));
    }
}

/// A text with the numbers of the rule, which are so in one place.
fn filled(text: &str, rule: &Rule) -> String {
    let quantile = match rule.condition {
        Condition::Latency { quantile, .. } => quantile,
        _ => 0.0,
    };
    text.replace("{window}", &duration(rule.window))
        .replace("{share}", &rule.share.to_string())
        .replace("{more_than}", &rule.more_than.to_string())
        .replace("{quantile}", &quantile.to_string())
        .replace("{item}", &rule.item().unwrap_or_default().to_string())
}

/// JSON's strings are strings of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// In the largest unit that fits.
fn duration(time: Duration) -> String {
    let milliseconds = time.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let fits = units
        .iter()
        .find(|(unit, _)| milliseconds.is_multiple_of(*unit));
    fits.map_or_else(
        || "0s".to_owned(),
        |(unit, name)| format!("{}{name}", milliseconds / unit),
    )
}
