//! The log records of the trace in one list.

use maud::{Markup, html};

use super::attributes::Budget;
use super::value_text;
use super::view::{Log, View};
use super::within;
use crate::pages::format;
use crate::pages::hue::hue;

pub(super) fn list(view: &View) -> Markup {
    let budget = Budget::new();
    html! {
        @if !view.logs.is_empty() {
            section.logs #logs aria-labelledby="logs-title" {
                h2 #logs-title { "Logs of this trace" }
                table {
                    thead { tr {
                        th scope="col" .num { "At" } th scope="col" { "Level" }
                        th scope="col" { "Service" } th scope="col" { "Message" }
                    } }
                    tbody { @for log in &view.logs { (row(view, log, &budget)) } }
                }
                @if view.more_logs > 0 {
                    p.soft { (format::count(view.more_logs, "later record")) " are not shown; "
                        a href=(format!("/api/logs?limit=1000&trace_id={}", view.trace.trace_id)) { "the API" } " has them." }
                }
            }
        }
    }
}

fn row(view: &View, log: &Log, budget: &Budget) -> Markup {
    html! {
        tr {
            td.num { (at(view, log.time)) }
            td class=(level(log)) { (within(&log.entry.severity, 12)) }
            td { span.chip.(hue(&log.entry.service)) { (within(&log.entry.service, 40)) } }
            td {
                (budget.plain(&message(log), 500))
                @if let Some(span) = log.span {
                    span.hint { " in " } a href=(view.address(span)) { (within(&view.trace.spans[span].name, 60)) }
                }
            }
        }
    }
}

/// From the start of the trace.
pub(super) fn at(view: &View, time: u64) -> String {
    match time.checked_sub(view.trace.start()) {
        Some(after) => format::duration(after),
        None if time == 0 => "–".to_owned(),
        None => format!("−{}", format::duration(view.trace.start() - time)),
    }
}

pub(super) fn message(log: &Log) -> String {
    match &log.entry.body {
        serde_json::Value::Null => log.entry.event_name.clone().unwrap_or_default(),
        body => value_text(body),
    }
}

/// The class of a severity (OpenTelemetry logs data model, SeverityNumber).
pub(super) fn level(log: &Log) -> &'static str {
    match log.entry.severity_number {
        17.. => "level-error",
        13..=16 => "level-warn",
        _ => "level-info",
    }
}
