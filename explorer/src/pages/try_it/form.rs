//! A form for each model that the gateway offers.

use maud::{Markup, html};

use crate::gateway::{Choices, Form, ModelChoice, SERVICES};

/// Texts to begin with.
const REVIEW: &str = "Great sound, but the battery died after a week.";
const WINES: [&str; 6] = [
    "wine-0001",
    "wine-0042",
    "wine-0268",
    "wine-0495",
    "wine-1202",
    "wine-1599",
];

/// One form for each model, with what was given before.
pub(super) fn forms(choices: &Choices, given: &Form) -> Markup {
    html! {
        @if choices.models.is_empty() {
            p.notice { "The gateway has no model. " code { "throughline train" } " makes one." }
        }
        div.asks { @for model in &choices.models { (form(model, choices, given)) } }
    }
}

fn form(model: &ModelChoice, choices: &Choices, given: &Form) -> Markup {
    let nothing = Form::default();
    let given = if given.get("model") == model.name {
        given
    } else {
        &nothing
    };
    html! {
        form.ask method="post" action="/try" {
            h2 { (model.name) }
            input type="hidden" name="model" value=(model.name);
            @if model.texts { (text(given)) } @else { (entity(given, &model.name)) }
            (options(model.variants.iter().map(String::as_str), choices.faults, given))
            button type="submit" { "Send" }
        }
    }
}

fn text(given: &Form) -> Markup {
    let text = Some(given.get("text")).filter(|text| !text.is_empty());
    html! {
        label { "A review" textarea name="text" rows="3" maxlength="4000" required { (text.unwrap_or(REVIEW)) } }
    }
}

fn entity(given: &Form, model: &str) -> Markup {
    let entity = Some(given.get("entity")).filter(|entity| !entity.is_empty());
    let list = format!("entities-{model}");
    html! {
        label { "The id of a wine, wine-0001 to wine-1599"
            input type="text" name="entity" list=(list) maxlength="128" required value=(entity.unwrap_or(WINES[1]));
        }
        datalist #(list) { @for wine in WINES { option value=(wine) {} } }
    }
}

/// What is chosen for a new request and for a replay alike.
pub(super) fn options<'a>(
    variants: impl Iterator<Item = &'a str>,
    faults: bool,
    given: &Form,
) -> Markup {
    let chosen = |field: &str, value: &str| given.get(field) == value;
    html! {
        label { "Variant" select name="variant" {
            option value="" { "as the gateway chooses" }
            @for variant in variants { option value=(variant) selected[chosen("variant", variant)] { (variant) } }
        } }
        label { "Stored predictions" select name="cache" {
            option value="" { "use them" }
            option value="no-cache" selected[chosen("cache", "no-cache")] { "compute again, and store (no-cache)" }
            option value="no-store" selected[chosen("cache", "no-store")] { "compute again, store nothing (no-store)" }
        } }
        @if faults {
            fieldset {
                legend { "Fault on purpose" }
                label { "Kind" select name="fault" {
                    option value="" { "none" }
                    option value="latency" selected[chosen("fault", "latency")] { "delay" }
                    option value="error" selected[chosen("fault", "error")] { "error" }
                    option value="drop" selected[chosen("fault", "drop")] { "drop the connection" }
                } }
                label { "In" select name="fault_service" {
                    @for service in SERVICES { option value=(service) selected[chosen("fault_service", service)] { (service) } }
                } }
                label { "Delay in ms" input type="number" name="fault_ms" min="1" max="5000" value="300"; }
            }
        } @else {
            p.hint { "The gateway runs without " code { "--allow-faults" } ", so no fault can be asked for." }
        }
    }
}
