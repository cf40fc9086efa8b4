//! `/logs`: log records by text, severity, service and trace.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use serde_json::Value;

use super::hue::hue;
use super::shell::{self, Head, Section};
use super::{PageQuery, build, format};
use crate::api::{LogEntry, LogsQuery, find_logs};
use crate::error::ReadError;
use crate::state::ApiState;
use crate::store::TelemetryStore;

/// Bytes of the texts of one page; what does not fit is said.
const MAX_BYTES: usize = 192 * 1024;
/// Characters of one text.
const MAX_TEXT: usize = 2_000;
/// Characters of the name of a service or of an event.
const MAX_NAME: usize = 120;
const SEVERITIES: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/logs", get(page))
}

async fn page(State(store): State<Arc<TelemetryStore>>, query: PageQuery<LogsQuery>) -> Response {
    build(move || {
        let Query(query) = query.map_err(ReadError::from)?;
        let query = query.without_empty();
        let form = form(&query, &services(&store));
        let found: Vec<_> = find_logs(&store.logs, query)?.collect();
        let head = Head {
            title: "Logs",
            section: Section::Logs,
            styles: &["overview.css"],
            scripts: &[],
            live: true,
        };
        let content = html! {
            h1 { "Logs" }
            (form)
            div #logs data-live { (table(&found)) }
        };
        Ok(shell::page(&head, &content))
    })
    .await
}

fn services(store: &TelemetryStore) -> BTreeSet<String> {
    let logs = store.logs.newest_first();
    let mut services = BTreeSet::new();
    for log in &logs {
        if services.len() < 100 && !services.contains(&log.source.service) {
            services.insert(log.source.service.chars().take(120).collect());
        }
    }
    services
}

fn form(query: &LogsQuery, services: &BTreeSet<String>) -> Markup {
    let (service, severity) = (query.service.as_deref(), query.severity.as_deref());
    html! {
        form.filters method="get" action="/logs" {
            label { "Text" input type="text" name="q" value=(query.q.as_deref().unwrap_or_default()) maxlength="200"; }
            label { "Severity" select name="severity" {
                option value="" { "all" }
                @for name in SEVERITIES { option value=(name) selected[severity == Some(name)] { (name) " and above" } }
            } }
            label { "Service" select name="service" {
                option value="" { "all" }
                @for name in services { option value=(name) selected[service == Some(name)] { (name) } }
            } }
            label { "Trace" input type="text" name="trace_id" value=(query.trace_id.as_deref().unwrap_or_default()) maxlength="32" size="34"; }
            button type="submit" { "Filter" }
            a href="/logs" { "Clear" }
        }
    }
}

fn table(found: &[LogEntry]) -> Markup {
    if found.is_empty() {
        return html! {
            p.notice { "No record matches. Services log at " code { "info" } " unless " code { "RUST_LOG" } " says otherwise; " a href="/logs" { "all records" } "." }
        };
    }
    let mut bytes = 0;
    let shown: Vec<_> = found
        .iter()
        .take_while(|entry| {
            bytes += text(&entry.body).len() + attributes(entry).len();
            bytes <= MAX_BYTES
        })
        .collect();
    let shown_count = shown.len().max(1);
    html! {
        p.facts { span { (format::count(shown_count, "record")) ", newest first" }
            @if shown_count < found.len() { span.partial { "⚠ " (found.len() - shown_count) " more matched and are too long to show here" } }
        }
        div.scroll.surface tabindex="0" role="region" aria-label="Log records" { table.plain.records {
            caption.hidden { "Log records, newest first" }
            thead { tr { th scope="col" { "Time" } th scope="col" { "Severity" } th scope="col" { "Service" } th scope="col" { "Record" } th scope="col" { "Trace" } } }
            tbody { @for (at, entry) in found.iter().take(shown_count).enumerate() { (row(entry, at)) } }
        } }
    }
}

fn row(entry: &LogEntry, at: usize) -> Markup {
    let severity = severity(entry.severity_number);
    html! {
        tr {
            td.when { (format::moment(entry.time.as_deref())) }
            td.(format!("level-{severity}")) { (sign(severity)) (entry.severity.chars().take(20).collect::<String>()) }
            td { span.chip.(hue(&entry.service)) { (format::cut(&entry.service, MAX_NAME)) } }
            td {
                div.body { (text(&entry.body)) }
                @if let Some(event) = &entry.event_name { code { (format::cut(event, MAX_NAME)) } " " }
                @if !entry.attributes.is_empty() {
                    details data-key=(format!("log {} {at}", entry.time.as_deref().unwrap_or_default())) {
                        summary { (format::count(entry.attributes.len(), "attribute")) }
                        pre { (attributes(entry)) }
                    }
                }
            }
            td { @if let Some(trace) = &entry.trace_id {
                @let span = entry.span_id.as_deref().map_or_else(String::new, |span| format!("/{span}"));
                a.mono href=(format!("/traces/{trace}{span}")) { (trace.get(..8).unwrap_or(trace)) }
            } }
        }
    }
}

/// The short name of a severity number (OpenTelemetry logs data model).
fn severity(number: i32) -> &'static str {
    let at = usize::try_from(number.saturating_sub(1)).unwrap_or(0) / 4;
    SEVERITIES.get(at).copied().unwrap_or("info")
}

fn sign(severity: &str) -> &'static str {
    match severity {
        "error" | "fatal" => "✗ ",
        "warn" => "⚠ ",
        _ => "",
    }
}

fn text(body: &Value) -> String {
    let text = match body {
        Value::String(text) => text.clone(),
        Value::Null => "(no text)".to_owned(),
        other => other.to_string(),
    };
    format::cut(&text, MAX_TEXT)
}

fn attributes(entry: &LogEntry) -> String {
    let mut lines = String::new();
    for (name, value) in &entry.attributes {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        lines.extend([name, " = ", &value, "\n"]);
    }
    format::cut(&lines, MAX_TEXT)
}
