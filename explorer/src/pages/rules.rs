//! `/rules`: the rules with their states, histories and traces.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use super::build;
use super::shell::{self, Head, Section};
use crate::api::ApiState;
use crate::rules::{
    Evidence, GroupReport, HistoryEntry, Measured, RuleReport, Rules, RulesReport,
    State as RuleState,
};

/// Labels are foreign; a page may not be as large as they are.
const MAX_ROWS: usize = 1_000;

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/rules", get(page))
}

async fn page(State(rules): State<Arc<Rules>>) -> Response {
    build(move || {
        let head = Head {
            title: "Rules",
            section: Section::Rules,
            styles: &[],
            scripts: &[],
            live: true,
        };
        let report = rules.report();
        let content = html! {
            h1 { "Rules" }
            div #rules data-live {
                p.facts { (facts(&report)) }
                @if report.rules.is_empty() {
                    p.notice { "There are no rules. Start the explorer with " code { "--rules FILE" } "." }
                } @else {
                    (states(&report))
                    (history(&report))
                }
            }
        };
        Ok(shell::page(&head, &content))
    })
    .await
}

fn facts(report: &RulesReport) -> Markup {
    html! {
        span { "evaluated " (report.evaluated.as_deref().unwrap_or("not yet")) }
        @if report.missed > 0 {
            " " span.partial { (report.missed) " items were evicted unseen" }
        }
        @if let Some(webhook) = &report.webhook {
            " " span {
                "webhook " (webhook.to) ": " (webhook.delivered) " delivered, " (webhook.given_up) " given up, "
                (webhook.dropped) " dropped"
            }
        }
    }
}

fn states(report: &RulesReport) -> Markup {
    html! {
        table.traces {
            caption.hidden { "Rules and their states" }
            thead { tr {
                th scope="col" { "Rule" } th scope="col" { "State" } th scope="col" { "Since" }
                th scope="col" .num { "Value" } th scope="col" .num { "Limit" } th scope="col" { "Traces" }
            } }
            tbody { @for rule in &report.rules {
                @if rule.groups.is_empty() {
                    tr { td { (name(rule)) } td.state { "inactive" } td {} td {} td {} td {} }
                }
                @for group in rule.groups.iter().take(MAX_ROWS) { (group_row(rule, group)) }
            } }
        }
    }
}

fn group_row(rule: &RuleReport, group: &GroupReport) -> Markup {
    let (value, limit) = numbers(&group.measured);
    html! {
        tr {
            td { (name(rule)) (labels(&group.labels)) }
            td.state { (state(group.state)) }
            td.when { (group.since.as_deref().unwrap_or_default()) }
            td.num { (value) }
            td.num { (limit) }
            td { (traces(&group.traces)) }
        }
    }
}

fn history(report: &RulesReport) -> Markup {
    let mut changes: Vec<(&RuleReport, &HistoryEntry)> = Vec::new();
    for rule in &report.rules {
        changes.extend(rule.history.iter().map(|change| (rule, change)));
    }
    changes.sort_by(|(_, a), (_, b)| b.at.cmp(&a.at));
    html! {
        h2 { "History" }
        table.traces {
            caption.hidden { "Changes of states, newest first" }
            thead { tr {
                th scope="col" { "At" } th scope="col" { "Rule" } th scope="col" { "State" }
                th scope="col" .num { "Value" } th scope="col" { "Traces" }
            } }
            tbody { @for (rule, change) in changes.into_iter().take(MAX_ROWS) {
                tr {
                    td.when { (change.at.as_deref().unwrap_or_default()) }
                    td { (rule.name) (labels(&change.labels)) }
                    td.state { (state(change.state)) }
                    td.num { (numbers(&change.measured).0) }
                    td { (traces(&change.traces)) }
                }
            } }
        }
    }
}

fn name(rule: &RuleReport) -> Markup {
    html! { strong { (rule.name) } " " span.from { (rule.summary) } }
}

fn labels(labels: &BTreeMap<String, String>) -> Markup {
    html! { @for (name, value) in labels { " " code { (name) "=" (value) } } }
}

fn state(state: RuleState) -> Markup {
    let class = match state {
        RuleState::Firing => "bad",
        RuleState::Pending => "partial",
        RuleState::Inactive | RuleState::Resolved => "ok",
    };
    html! { span.(class) { (state.as_str()) } }
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
fn traces(traces: &[Evidence]) -> Markup {
    html! {
        @for trace in traces {
            a.mono href=(format!("/traces/{}", trace.trace_id)) { (trace.trace_id.get(..8).unwrap_or_default()) }
            " "
        }
    }
}
