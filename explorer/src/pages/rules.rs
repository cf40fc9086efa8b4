//! `/rules`: the rules with their states, histories and the traces that caused them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use super::chart::{Part, Unit, number, split};
use super::shell::{self, Head, Section};
use super::{build, format};
use crate::rules::{
    Evidence, GroupReport, HistoryEntry, Measured, RuleReport, Rules, RulesReport,
    State as RuleState,
};
use crate::state::ApiState;

/// Labels are foreign; a page may not be as large as they are.
const MAX_GROUPS: usize = 200;
/// Changes of states on the page.
const MAX_CHANGES: usize = 300;

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/rules", get(page))
}

async fn page(State(rules): State<Arc<Rules>>) -> Response {
    build(move || {
        let head = Head {
            title: "Rules",
            section: Section::Rules,
            styles: &["overview.css"],
            scripts: &[],
            live: true,
        };
        let report = rules.report();
        let content = html! {
            h1 { "Rules" }
            div #rules data-live {
                p.facts { (facts(&report)) }
                @if report.rules.is_empty() {
                    p.notice { "There are no rules. Start the explorer with " code { "--rules FILE" } "; " code { "throughline up" } " brings some." }
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
        span { "Evaluated " (format::moment(report.evaluated.as_deref())) }
        @if report.missed > 0 {
            span.partial { "⚠ " (report.missed) " items were evicted unseen" }
        }
        @if let Some(webhook) = &report.webhook {
            span {
                "Webhook " (webhook.to) ": " (webhook.delivered) " delivered, " (webhook.given_up) " given up, "
                (webhook.dropped) " dropped"
            }
        }
    }
}

/// The rules, those that fire first.
fn states(report: &RulesReport) -> Markup {
    let mut rules: Vec<_> = report.rules.iter().collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.state));
    let mut left = MAX_GROUPS;
    html! {
        div.scroll.surface tabindex="0" role="region" aria-label="Rules and their states" { table.plain.rules {
            caption.hidden { "Rules and their states" }
            thead { tr {
                th scope="col" { "Rule" } th scope="col" { "State" } th scope="col" { "Since" }
                th scope="col" .num { "Value" } th scope="col" .num { "Limit" } th scope="col" .wide { span.hidden { "Value as a part of the limit" } }
                th scope="col" { "Traces that show it" }
            } }
            tbody { @for rule in rules {
                tr { th scope="rowgroup" colspan="7" { div.about { (name(rule)) } } }
                @if rule.groups.is_empty() {
                    tr { td.soft { "nothing seen in the last " (seconds(rule.window_seconds)) } td.state { (state(RuleState::Inactive)) } td {} td {} td {} td {} td {} }
                }
                @for group in rule.groups.iter().take(left) { (group_row(group)) }
                @let () = left = left.saturating_sub(rule.groups.len());
                @if rule.groups_refused > 0 { tr { td.partial colspan="7" { "⚠ " (rule.groups_refused) " items had labels for which there was no place" } } }
            } }
        } }
    }
}

fn name(rule: &RuleReport) -> Markup {
    html! {
        strong { (rule.name) } " " span.soft { (rule.severity) } " — " (rule.summary)
        span.soft { " · looks back " (seconds(rule.window_seconds)) @if rule.for_seconds > 0.0 { ", fires after " (seconds(rule.for_seconds)) } }
        @if let Some(action) = &rule.action { div.soft { (action) } }
    }
}

fn group_row(group: &GroupReport) -> Markup {
    let measured = &group.measured;
    html! {
        tr.failed[group.state == RuleState::Firing] {
            td { (labels(&group.labels)) @if group.labels.is_empty() { span.soft { "all" } } }
            td.state { (state(group.state)) }
            td.when { (format::moment(group.since.as_deref())) }
            td.num { (value(measured)) @if measured.items > 0 { div.soft { (measured.bad) " of " (measured.items) } } }
            td.num { (limit(measured)) }
            td.wide { (part(measured)) }
            td { (traces(&group.traces)) }
        }
    }
}

/// How much of the limit is reached; beyond it the bar is full.
fn part(measured: &Measured) -> Markup {
    let Some(value) = measured.value.filter(|_| measured.limit > 0.0) else {
        return Markup::default();
    };
    let share = value / measured.limit;
    let class = if share > 1.0 { "fill-bad" } else { "fill" };
    split(&[Part { class, share }])
}

fn history(report: &RulesReport) -> Markup {
    let mut changes: Vec<(&RuleReport, &HistoryEntry)> = Vec::new();
    for rule in &report.rules {
        changes.extend(rule.history.iter().map(|change| (rule, change)));
    }
    changes.sort_by(|(_, a), (_, b)| b.at.cmp(&a.at));
    html! {
        h2 { "History" }
        @if changes.is_empty() { p.notice { "No rule has changed its state since the explorer started." } }
        @else { div.scroll.surface tabindex="0" role="region" aria-label="History" { table.plain {
            caption.hidden { "Changes of states, newest first" }
            thead { tr {
                th scope="col" { "At" } th scope="col" { "Rule" } th scope="col" { "State" }
                th scope="col" .num { "Value" } th scope="col" .num { "Limit" } th scope="col" { "Traces that caused it" }
            } }
            tbody { @for (rule, change) in changes.into_iter().take(MAX_CHANGES) {
                tr {
                    td.when { (format::moment(change.at.as_deref())) }
                    td { (rule.name) (labels(&change.labels)) }
                    td.state { (state(change.state)) }
                    td.num { (value(&change.measured)) }
                    td.num { (limit(&change.measured)) }
                    td { (traces(&change.traces)) }
                }
            } }
        } } }
    }
}

fn labels(labels: &BTreeMap<String, String>) -> Markup {
    html! { @for (name, value) in labels { " " code { (name) "=" (value) } } }
}

/// A word and a sign, not colour alone.
fn state(state: RuleState) -> Markup {
    let (class, sign) = match state {
        RuleState::Firing => ("bad", "✗ "),
        RuleState::Pending => ("partial", "⚠ "),
        RuleState::Resolved => ("ok", "✓ "),
        RuleState::Inactive => ("ok", ""),
    };
    html! { span.(class) { (sign) (state.as_str()) } }
}

fn value(measured: &Measured) -> String {
    measured
        .value
        .map_or_else(|| "–".to_owned(), |value| shown(value, &measured.unit))
}

fn limit(measured: &Measured) -> String {
    shown(measured.limit, &measured.unit)
}

fn shown(value: f64, unit: &str) -> String {
    match unit {
        "share" => number(value, Unit::Share),
        "seconds" => number(value, Unit::Seconds),
        _ => number(value, Unit::Plain),
    }
}

fn seconds(value: f64) -> String {
    number(value, Unit::Seconds)
}

/// Links within the explorer: the page may be reached by another address than the notices name.
fn traces(traces: &[Evidence]) -> Markup {
    html! {
        @for trace in traces {
            a.mono href=(format!("/traces/{}", trace.trace_id)) { (trace.trace_id.get(..8).unwrap_or_default()) }
            " "
        }
        @if traces.is_empty() { span.soft { "–" } }
    }
}
