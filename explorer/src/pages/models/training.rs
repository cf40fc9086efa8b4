//! Versions beside their baseline, curves of the runs, and workers by epoch.

use maud::{Markup, html};

use super::{share, variants};
use crate::models::{CurvePoint, ModelReport, Outcome, RankReport, RunReport, VersionReport};
use crate::pages::chart::{
    Line, LineChart, Part, Unit, line_chart, number, numbers as number_table, split,
};
use crate::pages::format;

/// Curves on one chart.
const MAX_CURVES: usize = 8;

pub(super) fn versions(model: &ModelReport) -> Markup {
    html! {
        h2 #versions { "Versions" }
        div.scroll.surface tabindex="0" role="region" aria-label="Versions" { table.plain {
            caption.hidden { "Versions, newest first" }
            thead { tr {
                th scope="col" .num { "Version" } th scope="col" { "Run" } th scope="col" { "Commit" } th scope="col" { "Data" }
                th scope="col" .num { "Validation" } th scope="col" .num { "Baseline" } th scope="col" .wide { span.hidden { "Both as bars" } }
                th scope="col" { "Answers as" }
            } }
            tbody { @for version in &model.versions { (version_row(version)) } }
        } }
        @if model.versions.iter().any(|version| version.trace_id.is_none()) {
            p.soft { "– is not known: that training did not send its telemetry to this explorer, or it was evicted." }
        }
    }
}

fn version_row(version: &VersionReport) -> Markup {
    let run = version.run_id.as_deref().unwrap_or("–");
    let outcome = &version.outcome;
    html! {
        tr {
            td.num { strong { (version.version) } }
            td { @match &version.trace_id {
                Some(trace) => a.mono href=(format!("/traces/{trace}")) title=(run) { (short(run, 8)) },
                None => span.mono title=(run) { (short(run, 8)) },
            } }
            td.mono title=[outcome.commit.as_deref()] { (outcome.commit.as_deref().map_or("–", |commit| short(commit, 8))) }
            td { (outcome.dataset.as_deref().unwrap_or("–"))
                @if let Some(hash) = &outcome.dataset_sha256 { " " code title=(format!("SHA-256 {hash}")) { (short(hash, 8)) } } }
            (accuracy(outcome))
            td { @if version.variants.is_empty() { span.soft { "no prediction seen" } } @else { (version.variants.join(", ")) } }
        }
    }
}

/// The result beside what always giving the same answer reaches.
fn accuracy(outcome: &Outcome) -> Markup {
    if let Some(rmse) = outcome.validation_rmse {
        let baseline = outcome.baseline_rmse;
        let most = baseline.unwrap_or(rmse).max(rmse).max(f64::MIN_POSITIVE);
        return html! {
            td.num { "RMSE " (number(rmse, Unit::Plain)) }
            td.num { (baseline.map_or_else(|| "–".to_owned(), |value| number(value, Unit::Plain))) }
            td.wide { (two_bars(rmse / most, baseline.map(|value| value / most))) }
        };
    }
    html! {
        td.num { (share(outcome.validation_accuracy)) }
        td.num { (share(outcome.baseline_accuracy)) }
        td.wide { @if let Some(accuracy) = outcome.validation_accuracy { (two_bars(accuracy, outcome.baseline_accuracy)) } }
    }
}

fn two_bars(value: f64, baseline: Option<f64>) -> Markup {
    html! {
        (split(&[Part { class: "fill", share: value }]))
        @if let Some(baseline) = baseline { (split(&[Part { class: "fill-soft", share: baseline }])) }
    }
}

pub(super) fn section(model: &ModelReport) -> Markup {
    html! {
        h2 #training { "Training" }
        @if model.runs.is_empty() {
            p.notice { "No training was received. " code { "throughline train --data-dir DIR" } " with " code { "OTEL_EXPORTER_OTLP_ENDPOINT" } " at this explorer sends one." }
        } @else {
            (runs(model))
            div.multiples.two {
                (curves(model, "loss", "Training loss", Unit::Plain, |point| point.loss))
                (curves(model, "accuracy", "Training accuracy", Unit::Share, |point| point.training_accuracy))
            }
            h3 { "Stages of the trainings" }
            div.card { (variants::stages(&model.training_stages, &crate::Numbers::default())) }
            @for run in model.runs.iter().filter(|run| !run.ranks.is_empty()) { (workers(run)) }
        }
    }
}

fn runs(model: &ModelReport) -> Markup {
    html! {
        div.scroll.surface tabindex="0" role="region" aria-label="Runs" { table.plain {
            caption.hidden { "Runs, newest first" }
            thead { tr {
                th scope="col" { "Run" } th scope="col" { "Started" } th scope="col" { "Result" } th scope="col" .num { "Duration" }
                th scope="col" .num { "Learning rate" } th scope="col" .num { "Training" } th scope="col" .num { "Validation" } th scope="col" .num { "Baseline" }
            } }
            tbody { @for run in &model.runs { tr {
                td { a.mono href=(format!("/traces/{}/{}", run.trace_id, run.span_id)) title=(run.run_id) { (short(&run.run_id, 8)) } }
                td.when { (format::time(run.start)) }
                td { @if run.error { span.bad { "✗ " (run.error_type.as_deref().unwrap_or("failed")) } }
                    @else { "version " (run.version.as_deref().unwrap_or("–")) @if !run.ranks.is_empty() { " by " (format::count(run.ranks.len(), "worker")) } } }
                td.num { (format::duration((run.duration_ms * 1e6) as u64)) }
                td.num { (run.outcome.learning_rate.map_or_else(|| "–".to_owned(), |rate| number(rate, Unit::Plain))) }
                td.num { (share(run.outcome.training_accuracy)) }
                td.num { (share(run.outcome.validation_accuracy)) }
                td.num { (share(run.outcome.baseline_accuracy)) }
            } } }
        } }
    }
}

/// One number of all runs by epoch.
fn curves(
    model: &ModelReport,
    key: &str,
    title: &str,
    unit: Unit,
    value: impl Fn(&CurvePoint) -> Option<f64>,
) -> Markup {
    let lines: Vec<Line> = model
        .runs
        .iter()
        .filter_map(|run| {
            let points = run.curve.iter();
            let points: Vec<_> = points
                .filter_map(|point| Some((f64::from(point.epoch), value(point)?)))
                .collect();
            let name = match &run.version {
                Some(version) => format!("version {version}, {}", short(&run.run_id, 8)),
                None => short(&run.run_id, 8).to_owned(),
            };
            (!points.is_empty()).then_some(Line { name, points })
        })
        .take(MAX_CURVES)
        .collect();
    let baseline = model
        .runs
        .iter()
        .find_map(|run| run.outcome.baseline_accuracy);
    let limit = (key == "accuracy").then_some(baseline).flatten();
    let chart = LineChart {
        label: &format!("{title} of {} by epoch", model.name),
        key: &format!("curve {key}"),
        lines: &lines,
        unit,
        x_name: "epoch",
        limit: limit.map(|limit| (limit, "baseline")),
    };
    html! { div.card { h3 { (title) " by epoch" } (line_chart(&chart)) } }
}

/// What each worker of a distributed training did in each epoch.
fn workers(run: &RunReport) -> Markup {
    let of_rank = |rank: &RankReport| {
        let sums = rank
            .epochs
            .iter()
            .map(|work| work.compute_seconds + work.all_reduce_seconds);
        sums.fold(0.0, f64::max)
    };
    let longest = run
        .ranks
        .iter()
        .map(of_rank)
        .fold(f64::MIN_POSITIVE, f64::max);
    html! {
        h3 { "Workers of run " code { (short(&run.run_id, 8)) } " by epoch" }
        ul.legend {
            li { svg.swatch aria-hidden="true" { rect.fill width="100%" height="100%" {} } "computing" }
            li { svg.swatch aria-hidden="true" { rect.fill-light width="100%" height="100%" {} } "in all-reduce, most of it waiting for the slowest worker" }
        }
        div.multiples { @for rank in &run.ranks { (worker(run, rank, longest)) } }
    }
}

fn worker(run: &RunReport, rank: &RankReport, longest: f64) -> Markup {
    let seconds = |value: f64| number(value, Unit::Seconds);
    let rows: Vec<Vec<String>> = rank
        .epochs
        .iter()
        .map(|work| {
            vec![
                work.epoch.to_string(),
                seconds(work.compute_seconds),
                seconds(work.all_reduce_seconds),
            ]
        })
        .collect();
    let label = format!("Computing and all-reduce of rank {} by epoch", rank.rank);
    let width = 100.0 / rank.epochs.len().max(1) as f64;
    html! {
        section.card aria-label=(label) {
            h4 { "Rank " (rank.rank) @if rank.error { " " span.bad { "✗ failed" } } }
            p.soft {
                @if let Some(compute) = rank.compute_seconds { (seconds(compute)) " computing" }
                @if let Some(all_reduce) = rank.all_reduce_seconds { ", " (seconds(all_reduce)) " in all-reduce" }
            }
            div.plot.small {
                div.y-axis aria-hidden="true" { span { (seconds(longest)) } span { "0" } }
                svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label=(label) {
                    @for (at, work) in rank.epochs.iter().enumerate() {
                        @let compute = 100.0 * work.compute_seconds / longest;
                        @let all_reduce = 100.0 * work.all_reduce_seconds / longest;
                        @let x = format!("{:.2}", width * at as f64);
                        rect.fill x=(x) width=(format!("{:.2}", width * 0.85)) y=(format!("{:.2}", 100.0 - compute)) height=(format!("{compute:.2}")) {}
                        rect.fill-light x=(x) width=(format!("{:.2}", width * 0.85)) y=(format!("{:.2}", 100.0 - compute - all_reduce)) height=(format!("{all_reduce:.2}")) {}
                    }
                }
            }
            (number_table(&format!("workers {} {}", run.run_id, rank.rank), &label, &["epoch", "computing", "in all-reduce"], &rows))
        }
    }
}

fn short(text: &str, length: usize) -> &str {
    text.get(..length).unwrap_or(text)
}
