//! `/metrics`: any received metric as a chart over time, a small multiple for each set of
//! attributes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;

use super::chart::{Line, LineChart, Unit, heat, line_chart, number};
use super::hue::hue;
use super::shell::{self, Head, Section};
use super::{PageQuery, build, format};
use crate::error::ReadError;
use crate::metric_points::{self, ChartPoint, ChartSeries, PointsReport, Shows};
use crate::state::ApiState;
use crate::store::TelemetryStore;

/// Charts on one page; `/api/metrics/points` has more.
const MAX_CHARTS: usize = 18;
/// Names in the list.
const MAX_NAMES: usize = 300;

#[derive(Debug, Deserialize)]
struct MetricsPage {
    name: Option<String>,
}

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/metrics", get(page))
}

async fn page(State(store): State<Arc<TelemetryStore>>, query: PageQuery<MetricsPage>) -> Response {
    build(move || {
        let Query(query) = query.map_err(ReadError::from)?;
        let chosen = query.name.filter(|name| !name.is_empty());
        let report = match &chosen {
            Some(name) => {
                let points = metric_points::points(&store.metrics, name);
                Some(points.ok_or_else(|| ReadError::UnknownMetric(name.clone()))?)
            }
            None => None,
        };
        let head = Head {
            title: chosen.as_deref().unwrap_or("Metrics"),
            section: Section::Metrics,
            styles: &["overview.css"],
            scripts: &[],
            live: true,
        };
        let content = html! {
            h1 { "Metrics" }
            div.beside {
                div #names data-live { (names(&store, chosen.as_deref())) }
                div #charts data-live { @match &report {
                    Some(report) => (charts(report)),
                    None => p.notice { "Choose a metric. A gauge is drawn as its value, a counter as its rate, a histogram as percentiles and a heat strip." },
                } }
            }
        };
        Ok(shell::page(&head, &content))
    })
    .await
}

fn names(store: &TelemetryStore, chosen: Option<&str>) -> Markup {
    let names = store.metrics.names();
    html! {
        @if names.is_empty() {
            p.notice { "No metric yet. Services export theirs after a few seconds: " code { "throughline up" } " starts some." }
        } @else {
            nav.names aria-label="Metrics" { ul {
                @for (name, series) in names.iter().take(MAX_NAMES) {
                    @let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("name", name).finish();
                    li { a href=(format!("/metrics?{query}")) data-key=(name) aria-current=[(chosen == Some(name)).then_some("page")] {
                        span { (name) } " " b title=(format::count(*series, "series")) { (series) }
                    } }
                }
            } }
            @if names.len() > MAX_NAMES { p.partial { "⚠ " (names.len() - MAX_NAMES) " more are in " code { "/api/metrics" } } }
        }
    }
}

fn charts(report: &PointsReport) -> Markup {
    let left_out = report.left_out + report.series.len().saturating_sub(MAX_CHARTS);
    html! {
        h2 .first { (report.name) }
        p.soft { (report.description) @if !report.unit.is_empty() { " Unit: " code { (report.unit) } } }
        @if left_out > 0 { p.partial { "⚠ " (left_out) " more sets of attributes are not drawn." } }
        div.multiples.two { @for (at, series) in report.series.iter().take(MAX_CHARTS).enumerate() {
            section.card aria-label=(format!("Series {}", at + 1)) { (chart(report, series, at)) }
        } }
    }
}

fn chart(report: &PointsReport, series: &ChartSeries, at: usize) -> Markup {
    let unit = match (series.shows, Unit::of(&report.unit)) {
        // Seconds per second, as of CPU time, are a plain share of one.
        (Shows::Rate, Unit::Plain) => Unit::PerSecond,
        (Shows::Rate, _) => Unit::Plain,
        (_, unit) => unit,
    };
    let lines = lines(series);
    let label = format!("{} of {}", report.name, series.service);
    let key = format!("series {at}");
    let chart = LineChart {
        label: &label,
        key: &key,
        lines: &lines,
        unit,
        x_name: "",
        limit: None,
    };
    html! {
        div.series { (attributes(series)) (latest(series, unit)) }
        (line_chart(&chart))
        @if series.shows == Shows::Distribution && !series.bounds.is_empty() {
            @let columns: Vec<&[u64]> = series.points.iter().map(|point| &point.buckets[..]).collect();
            (heat(&format!("How many values of {label} are in each bucket, over time"), &columns, &series.bounds, unit))
        }
    }
}

fn attributes(series: &ChartSeries) -> Markup {
    html! {
        p.tags {
            span.chip.(hue(&series.service)) { (series.service) }
            @for (name, value) in &series.attributes {
                " " code { (name) "=" (value.as_str().map_or_else(|| value.to_string(), str::to_owned).chars().take(120).collect::<String>()) }
            }
        }
    }
}

fn latest(series: &ChartSeries, unit: Unit) -> Markup {
    let Some(point) = series.points.last() else {
        return Markup::default();
    };
    let shown =
        |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| number(value, unit));
    html! {
        p.latest {
            @match series.shows {
                Shows::Value => strong { (shown(point.value)) },
                Shows::Rate => { strong { (shown(point.value)) } " " span.soft { "rate" } },
                Shows::Distribution => {
                    strong { (shown(point.p50.or(point.value))) } " " span.soft { @if point.p50.is_some() { "p50" } @else { "mean" } }
                },
            }
        }
    }
}

fn lines(series: &ChartSeries) -> Vec<Line> {
    let line = |name: &str, value: &dyn Fn(&ChartPoint) -> Option<f64>| Line {
        name: name.to_owned(),
        points: series
            .points
            .iter()
            .filter_map(|point| Some((point.time as f64, value(point)?)))
            .collect(),
    };
    match series.shows {
        Shows::Value => vec![line("value", &|point| point.value)],
        Shows::Rate => vec![line("rate", &|point| point.value)],
        Shows::Distribution if series.points.iter().all(|point| point.p50.is_none()) => {
            vec![line("mean", &|point| point.value)]
        }
        Shows::Distribution => vec![
            line("p95", &|point| point.p95),
            line("p50", &|point| point.p50),
        ],
    }
}
