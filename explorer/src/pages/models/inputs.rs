//! Inputs and answers against the reference profile of the training, as small multiples.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::models::{InputReport, ModelReport};
use crate::pages::chart::spark;

pub(super) fn section(model: &ModelReport) -> Markup {
    let mut features: BTreeMap<(bool, &str), Vec<&InputReport>> = BTreeMap::new();
    for input in &model.inputs {
        // The answers stand last.
        let is_answer = input.feature.starts_with("ml.output.");
        features
            .entry((is_answer, &input.feature))
            .or_default()
            .push(input);
    }
    html! {
        h2 #inputs { "Inputs against the training" }
        @if model.inputs.is_empty() {
            p.notice { "No window of inputs was compared yet: a version compares each 200 rows. " code { "throughline load --mix write" } " sends as many." }
        } @else {
            p.soft { "Each number is of the last window of rows; the line is that of the windows before, and the broken line is the threshold." }
            div.multiples.three { @for ((_, feature), inputs) in &features { (card(feature, inputs)) } }
        }
    }
}

fn card(feature: &str, inputs: &[&InputReport]) -> Markup {
    let drifts = inputs.iter().any(|input| input.drifts);
    html! {
        section.card.drifts[drifts] aria-label=(feature) {
            h3 { (name(feature)) @if drifts { " " span.partial { "⚠ drifts" } } @else { " " span.soft { "as in the training" } } }
            @for input in inputs {
                div.measure {
                    (spark(&input.history.iter().map(|(_, score)| *score).collect::<Vec<_>>(), input.threshold))
                    p {
                        strong title=(input.meaning) { (input.method) } " "
                        span.soft { (input.variant) " " (input.version) } br;
                        span.partial[input.drifts] { (input.verdict) }
                    }
                }
            }
        }
    }
}

fn name(feature: &str) -> &str {
    match feature {
        "ml.output.label" => "predicted label",
        "ml.output.confidence" => "confidence",
        "ml.output.value" => "predicted number",
        feature => feature,
    }
}
