//! The form of the filter: a plain GET form, so that its address is the saved filter.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::cut;
use crate::filter::{Parameters, Sort};
use crate::store::traces::ListedTrace;

/// Names that are proposed for a field.
const MAX_PROPOSALS: usize = 50;
/// Parameters behind "More".
const MORE: [&str; 7] = [
    "model", "variant", "version", "cached", "since", "until", "where",
];

pub(super) fn draw(parameters: &Parameters, listed: &[ListedTrace]) -> Markup {
    let is_open = MORE.iter().any(|name| value(parameters, name).is_some());
    html! {
        form.filters role="search" aria-label="Filter of the traces" action="/" method="get" {
            (field(parameters, "q", "Text", "name, value or trace id", None))
            (field(parameters, "service", "Service", "any", Some("services")))
            (choice(parameters, "status", "Status", &[("", "any"), ("ok", "ok"), ("error", "error")]))
            (range(parameters, "min_duration_ms", "max_duration_ms"))
            (choice(parameters, "sort", "Order", &orders()))
            button type="submit" { "Filter" }
            a href="/" { "Clear" }
            details.more open[is_open] {
                summary { "More" }
                div.fields {
                    (field(parameters, "model", "Model", "any", Some("models")))
                    (field(parameters, "variant", "Variant", "any", None))
                    (field(parameters, "version", "Version", "any", None))
                    (choice(parameters, "cached", "From the store", &[("", "any"), ("yes", "yes"), ("no", "no, computed")]))
                    (field(parameters, "since", "Started since", "15m, 2h, or 2026-01-31T12:00Z", None))
                    (field(parameters, "until", "Started until", "2026-01-31T12:00Z", None))
                    (conditions(parameters))
                }
            }
            (proposals("services", listed.iter().flat_map(|trace| trace.services.keys())))
            (proposals("models", listed.iter().flat_map(|trace| &trace.models)))
        }
    }
}

fn orders() -> Vec<(&'static str, &'static str)> {
    let name = |(sort, name): (Sort, &'static str)| match sort {
        Sort::Newest => ("", "newest first"),
        Sort::Oldest => (name, "oldest first"),
        Sort::Slowest => (name, "slowest first"),
        Sort::Fastest => (name, "fastest first"),
    };
    Sort::ALL.into_iter().map(name).collect()
}

/// The value to show again, even if it was given twice and is an error.
fn value<'a>(parameters: &'a Parameters, name: &'a str) -> Option<&'a str> {
    parameters.all(name).next()
}

fn field(
    parameters: &Parameters,
    name: &str,
    title: &str,
    hint: &str,
    list: Option<&str>,
) -> Markup {
    html! {
        label { (title)
            input type="text" name=(name) value=[value(parameters, name)] placeholder=(hint) list=[list] autocomplete="off";
        }
    }
}

fn choice(parameters: &Parameters, name: &str, title: &str, options: &[(&str, &str)]) -> Markup {
    let chosen = value(parameters, name).unwrap_or_default();
    html! {
        label { (title)
            select name=(name) {
                @for (value, shown) in options { option value=(value) selected[*value == chosen] { (shown) } }
            }
        }
    }
}

fn range(parameters: &Parameters, least: &str, most: &str) -> Markup {
    html! {
        @for (name, title) in [(least, "Took at least"), (most, "Took at most")] {
            label { (title)
                span.unit {
                    input type="number" min="0" step="any" name=(name) value=[value(parameters, name)];
                    "ms"
                }
            }
        }
    }
}

/// A field for each condition, and an empty one.
fn conditions(parameters: &Parameters) -> Markup {
    let given: Vec<&str> = parameters.all("where").chain([""]).collect();
    html! {
        fieldset.conditions {
            legend { "Attributes: " code { "KEY is VALUE" } ", with is, is not, contains, does not contain, > or <" }
            @for (at, text) in given.iter().enumerate() {
                input type="text" name="where" value=(text) aria-label=(format!("Condition {}", at + 1)) placeholder="ml.output.label is low" autocomplete="off";
            }
        }
    }
}

fn proposals<'a>(id: &str, names: impl Iterator<Item = &'a String>) -> Markup {
    let names: BTreeSet<&String> = names.collect();
    html! {
        datalist #(id) { @for name in names.into_iter().take(MAX_PROPOSALS) { option value=(cut(name)) {} } }
    }
}
