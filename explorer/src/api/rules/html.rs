//! The page of the rules, written on the server. Labels and names are foreign text, so every text
//! goes through [`Text`], and the Content-Security-Policy of the page allows no script anyway.

use std::fmt::{self, Display, Formatter, Write as _};

use crate::api::answer::MAX_LIST_BYTES;
use crate::rules::{Evidence, GroupReport, HistoryEntry, Measured, RuleReport, RulesReport, State};

/// The page up to its first heading.
const HEAD: &str = include_str!("../../../page/rules.html");

/// Text between tags or in a quoted attribute.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// The whole page.
pub(super) fn page(report: &RulesReport) -> String {
    let mut html = HEAD.to_owned();
    let _ = writeln!(html, "    <p class=\"facts\">{}</p>", facts(report));
    if report.rules.is_empty() {
        html.push_str("    <p class=\"notice\">There are no rules. Start the explorer with <code>--rules FILE</code>.</p>\n");
    } else {
        states(&mut html, report);
        history(&mut html, report);
    }
    html.push_str("  </main>\n</body>\n</html>\n");
    html
}

fn facts(report: &RulesReport) -> String {
    let when = report.evaluated.as_deref().unwrap_or("not yet");
    let mut facts = format!("<span>evaluated {}</span>", Text(when));
    if report.missed > 0 {
        let _ = write!(
            facts,
            " <span class=\"partial\">{} items were evicted unseen</span>",
            report.missed
        );
    }
    if let Some(webhook) = &report.webhook {
        let _ = write!(
            facts,
            " <span>webhook {}: {} delivered, {} given up, {} dropped</span>",
            Text(&webhook.to),
            webhook.delivered,
            webhook.given_up,
            webhook.dropped
        );
    }
    facts
}

fn states(html: &mut String, report: &RulesReport) {
    html.push_str("    <table class=\"traces\">\n      <caption class=\"hidden\">Rules and their states</caption>\n      <thead><tr><th scope=\"col\">Rule</th><th scope=\"col\">State</th><th scope=\"col\">Since</th><th scope=\"col\" class=\"num\">Value</th><th scope=\"col\" class=\"num\">Limit</th><th scope=\"col\">Traces</th></tr></thead>\n      <tbody>\n");
    for rule in &report.rules {
        if rule.groups.is_empty() {
            let _ = writeln!(
                html,
                "        <tr><td>{}</td><td class=\"state\">inactive</td><td></td><td></td><td></td><td></td></tr>",
                name(rule)
            );
        }
        for group in &rule.groups {
            if html.len() < MAX_LIST_BYTES {
                group_row(html, rule, group);
            }
        }
    }
    html.push_str("      </tbody>\n    </table>\n");
}

fn group_row(html: &mut String, rule: &RuleReport, group: &GroupReport) {
    let labels = labels(&group.labels);
    let (value, limit) = numbers(&group.measured);
    let _ = writeln!(
        html,
        "        <tr><td>{}{labels}</td><td class=\"state\">{}</td><td class=\"when\">{}</td><td class=\"num\">{value}</td><td class=\"num\">{limit}</td><td>{}</td></tr>",
        name(rule),
        state(group.state),
        Text(group.since.as_deref().unwrap_or_default()),
        traces(&group.traces),
    );
}

fn history(html: &mut String, report: &RulesReport) {
    let mut changes: Vec<(&RuleReport, &HistoryEntry)> = Vec::new();
    for rule in &report.rules {
        changes.extend(rule.history.iter().map(|change| (rule, change)));
    }
    changes.sort_by(|(_, a), (_, b)| b.at.cmp(&a.at));
    html.push_str("    <h2>History</h2>\n    <table class=\"traces\">\n      <caption class=\"hidden\">Changes of states, newest first</caption>\n      <thead><tr><th scope=\"col\">At</th><th scope=\"col\">Rule</th><th scope=\"col\">State</th><th scope=\"col\" class=\"num\">Value</th><th scope=\"col\">Traces</th></tr></thead>\n      <tbody>\n");
    for (rule, change) in changes {
        // Labels are foreign; a page may not be as large as they are.
        if html.len() > MAX_LIST_BYTES {
            break;
        }
        let (value, _) = numbers(&change.measured);
        let _ = writeln!(
            html,
            "        <tr><td class=\"when\">{}</td><td>{}{}</td><td class=\"state\">{}</td><td class=\"num\">{value}</td><td>{}</td></tr>",
            Text(change.at.as_deref().unwrap_or_default()),
            Text(&rule.name),
            labels(&change.labels),
            state(change.state),
            traces(&change.traces),
        );
    }
    html.push_str("      </tbody>\n    </table>\n");
}

fn name(rule: &RuleReport) -> String {
    format!(
        "<strong>{}</strong> <span class=\"from\">{}</span>",
        Text(&rule.name),
        Text(&rule.summary)
    )
}

fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        let _ = write!(text, " <code>{}={}</code>", Text(name), Text(value));
    }
    text
}

fn state(state: State) -> String {
    let class = match state {
        State::Firing => "bad",
        State::Pending => "partial",
        State::Inactive | State::Resolved => "ok",
    };
    format!("<span class=\"{class}\">{}</span>", state.as_str())
}

fn numbers(measured: &Measured) -> (String, String) {
    let shown = |value: f64| match measured.unit.as_str() {
        "share" => format!("{:.1} %", value * 100.0),
        "seconds" => format!("{:.1} ms", value * 1e3),
        "items" => format!("{value}"),
        _ => format!("{value:.4}"),
    };
    let value = measured.value.map_or_else(|| "–".to_owned(), shown);
    (value, shown(measured.limit))
}

/// Links within the explorer: the page may be reached by another address than the notices name.
fn traces(traces: &[Evidence]) -> String {
    let mut text = String::new();
    for trace in traces {
        let short = trace.trace_id.get(..8).unwrap_or_default();
        let _ = write!(
            text,
            "<a class=\"mono\" href=\"./#/trace/{}\">{}</a> ",
            Text(&trace.trace_id),
            Text(short)
        );
    }
    text
}
