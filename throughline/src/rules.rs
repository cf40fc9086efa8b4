//! `throughline rules`: the states of the rules in the terminal, and the same rules for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::bail;
use explorer::rules::{
    DEFAULT_RULES, Evidence, HistoryEntry, Measured, RuleReport, RuleSet, RulesReport, State,
};

use crate::cli::RulesArgs;
use crate::explorer_client::ExplorerClient;
use crate::screen;

/// Prints the rules.
pub(crate) fn main(args: &RulesArgs) -> anyhow::Result<()> {
    if args.prometheus {
        let rules = match &args.file {
            Some(file) => RuleSet::read(file)?,
            None => RuleSet::parse(DEFAULT_RULES)?,
        };
        screen::say(rules.prometheus().trim_end());
        return Ok(());
    }
    let report = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async { ExplorerClient::new(&args.explorer.url)?.rules().await })?;
    screen::say(table(&report));
    if args.history {
        screen::say(format!("\n{}", history(&report)));
    }
    let firing = report
        .rules
        .iter()
        .filter(|rule| rule.state == State::Firing);
    match firing.count() {
        firing if firing > 0 && args.fail_if_firing => bail!("rules that fire: {firing}"),
        _ => Ok(()),
    }
}

/// A line for each rule or group, and below those that are not inactive their traces.
fn table(report: &RulesReport) -> String {
    if report.rules.is_empty() {
        return "the explorer has no rules; start it with --rules FILE".to_owned();
    }
    let mut text = format!(
        "{:<20} {:<9} {:>11} {:>11}  group",
        "rule", "state", "value", "limit"
    );
    for rule in &report.rules {
        if rule.groups.is_empty() {
            let _ = write!(
                text,
                "\n{:<20} {:<9} {:>11}",
                rule.name,
                rule.state.as_str(),
                "–"
            );
        }
        for group in &rule.groups {
            let _ = write!(
                text,
                "\n{:<20} {} {:>11} {:>11}  {}",
                rule.name,
                state(group.state),
                value(&group.measured),
                shown(&group.measured, group.measured.limit),
                labels(&group.labels)
            );
            if group.state != State::Inactive {
                let _ = write!(text, "{}", traces(&group.traces));
            }
        }
    }
    text
}

/// Changes of states, the newest first.
fn history(report: &RulesReport) -> String {
    let mut changes: Vec<(&RuleReport, &HistoryEntry)> = Vec::new();
    for rule in &report.rules {
        changes.extend(rule.history.iter().map(|change| (rule, change)));
    }
    changes.sort_by(|(_, a), (_, b)| b.at.cmp(&a.at));
    if changes.is_empty() {
        return "no rule changed its state".to_owned();
    }
    let line = |(rule, change): &(&RuleReport, &HistoryEntry)| {
        format!(
            "{:<30} {:<20} {} {:>11}  {}{}",
            change.at.as_deref().unwrap_or_default(),
            rule.name,
            state(change.state),
            value(&change.measured),
            labels(&change.labels),
            traces(&change.traces)
        )
    };
    changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn state(state: State) -> String {
    let padded = format!("{:<9}", state.as_str());
    match state {
        State::Firing => screen::paint("31", &padded),
        State::Pending => screen::paint("33", &padded),
        State::Inactive | State::Resolved => padded,
    }
}

fn value(measured: &Measured) -> String {
    let value = measured.value.map(|value| shown(measured, value));
    value.unwrap_or_else(|| "–".to_owned())
}

fn shown(measured: &Measured, value: f64) -> String {
    match measured.unit.as_str() {
        "share" => format!("{:.1} %", value * 100.0),
        "seconds" => format!("{:.1} ms", value * 1e3),
        "items" => format!("{value}"),
        _ => format!("{value:.4}"),
    }
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
    labels.collect::<Vec<_>>().join(" ")
}

fn traces(traces: &[Evidence]) -> String {
    let lines = traces
        .iter()
        .map(|trace| format!("\n  {}  {}", trace.trace_id, trace.url));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_fires_is_shown_with_its_numbers_and_traces() {
        let report: RulesReport = serde_json::from_value(serde_json::json!({
            "evaluated": null, "missed": 0, "webhook": null,
            "rules": [
                {"name": "quiet", "summary": "s", "severity": "page", "action": null, "state": "inactive",
                 "window_seconds": 60.0, "for_seconds": 0.0, "groups_refused": 0, "groups": [], "history": []},
                {"name": "errors", "summary": "s", "severity": "page", "action": null, "state": "firing",
                 "window_seconds": 60.0, "for_seconds": 0.0, "groups_refused": 0, "history": [],
                 "groups": [{"labels": {"a": "b"}, "state": "firing", "since": null, "value": 0.25, "limit": 0.05,
                    "unit": "share", "items": 8, "bad": 2,
                    "traces": [{"trace_id": "ab", "url": "http://e/traces/ab", "api_url": "http://e/api/traces/ab"}]}]}
            ]
        }))
        .unwrap();
        let text = table(&report);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "quiet                inactive            –");
        assert_eq!(
            lines[2],
            "errors               firing         25.0 %       5.0 %  a=b"
        );
        assert_eq!(lines[3], "  ab  http://e/traces/ab");
        assert_eq!(history(&report), "no rule changed its state");
    }
}
