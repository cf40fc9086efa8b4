//! Variants side by side: calls, stages, confidence, labels.

use maud::{Markup, html};

use super::share;
use crate::models::{ModelReport, StageReport, VariantReport};
use crate::pages::chart::{Part, bars, histogram, split};
use crate::pages::map::{milliseconds, numbers};

pub(super) fn section(model: &ModelReport) -> Markup {
    html! {
        h2 #variants { "Variants side by side" }
        @if model.variants.is_empty() {
            p.notice { "No prediction in this time. Choose a longer one, or send one: " code { "throughline sample" } "." }
        } @else {
            (calls(model))
            div.multiples { @for variant in &model.variants { (card(model, variant)) } }
        }
    }
}

fn calls(model: &ModelReport) -> Markup {
    html! {
        div.scroll.surface tabindex="0" role="region" aria-label="Calls by variant" { table.plain {
            caption.hidden { "Calls by variant and version" }
            thead { tr {
                th scope="col" { "Variant" } th scope="col" .num { "Version" } th scope="col" { "Computed by" }
                th scope="col" .num { "Calls" } th scope="col" .num { "Rate" } th scope="col" .num { "Errors" }
                th scope="col" .num { "p50" } th scope="col" .num { "p95" }
                th scope="col" .num { "Rows" } th scope="col" .num { "Mean confidence" }
            } }
            tbody { @for variant in &model.variants { tr {
                td { a href=(traces(model, variant)) { (variant.variant) } }
                td.num { (variant.version) }
                td { (variant.service) " " span.soft { (variant.framework.as_deref().unwrap_or_default()) } }
                (numbers(&variant.numbers))
                td.num { (variant.rows) }
                td.num { (share(variant.mean_confidence)) }
            } } }
        } }
    }
}

/// The traces of a variant with this version.
fn traces(model: &ModelReport, variant: &VariantReport) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("model", &model.name)
        .append_pair("variant", &variant.variant)
        .append_pair("version", &variant.version)
        .finish();
    format!("/?{query}")
}

fn card(model: &ModelReport, variant: &VariantReport) -> Markup {
    let name = format!("{} · version {}", variant.variant, variant.version);
    let key = format!("{}/{}", variant.variant, variant.version);
    html! {
        section.card aria-label=(name) {
            h3 { (name) }
            h4 { "Stages of a prediction" }
            (stages(&variant.stages, &variant.numbers))
            h4 { "Confidence" }
            @if variant.mean_confidence.is_none() {
                p.soft { "No prediction of one row with a confidence." }
            } @else {
                (histogram(&format!("Confidences of {} {name}", model.name), &format!("confidence {key}"), &variant.confidence, (0.0, 1.0)))
            }
            h4 { "Labels" }
            (labels(variant))
        }
    }
}

/// Stages with bars on one scale: to p50 in full colour, from there to p95 lighter.
pub(super) fn stages(stages: &[StageReport], whole: &crate::Numbers) -> Markup {
    let longest = stages.iter().filter_map(|stage| stage.numbers.p95_ms);
    let longest = longest
        .chain(whole.p95_ms)
        .fold(f64::MIN_POSITIVE, f64::max);
    html! {
        @if stages.is_empty() { p.soft { "No span below it." } }
        @else {
            div.scroll tabindex="0" role="group" aria-label="Stages" { table.stages {
                thead { tr { th scope="col" { "Stage" } th scope="col" .num { "Calls" } th scope="col" .num { "p50" } th scope="col" .num { "p95" } th scope="col" .wide { span.hidden { "p50 and p95 as a bar" } } } }
                tbody { @for stage in stages {
                    @let (p50, p95) = (stage.numbers.p50_ms.unwrap_or(0.0) / longest, stage.numbers.p95_ms.unwrap_or(0.0) / longest);
                    tr {
                        td.(format!("depth-{}", stage.depth.min(4))) { (stage.name) @if stage.numbers.errors > 0 { " " span.bad { "✗ " (stage.numbers.errors) } } }
                        td.num { (stage.numbers.calls) }
                        td.num { (milliseconds(stage.numbers.p50_ms)) }
                        td.num { (milliseconds(stage.numbers.p95_ms)) }
                        td.wide { (split(&[Part { class: "fill", share: p50 }, Part { class: "fill-light", share: p95 - p50 }])) }
                    }
                } }
            } }
        }
    }
}

fn labels(variant: &VariantReport) -> Markup {
    html! {
        @if variant.labels.is_empty() { p.soft { "No prediction of one row with a label." } }
        @else { table.stages {
            thead { tr { th scope="col" { "Label" } th scope="col" .num { "Count" } th scope="col" .num { "Share" } th scope="col" .wide { span.hidden { "Share as a bar" } } } }
            tbody { @for label in &variant.labels { tr {
                td { (label.label) }
                td.num { (label.count) }
                td.num { (share(Some(label.share))) }
                td.wide { (bars(label.share)) }
            } } }
        } }
    }
}
