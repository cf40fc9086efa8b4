//! What is different about some of the traces: which can be chosen, and the answer as paired bars.

use maud::{Markup, html};

use super::{View, address, cut, dots};
use crate::difference::{
    Bin, Category, Class, Difference, Evidence, LEAST_SELECTED, Ranked, Selection, difference,
};
use crate::pages::format;
use crate::store::TelemetryStore;

/// Differences that are shown at once; the others are behind a button.
const OPEN: usize = 6;
/// Names of attributes that are said to be left out.
const MAX_LEFT_OUT: usize = 20;

/// Links to the groups that have a name, and a form for a part of the dots.
pub(super) fn choices(view: &View<'_>) -> Markup {
    let named = [
        ("slow", "slow"),
        ("failed", "failed"),
        ("drifted", "drifted"),
    ];
    let chosen = view.parameters.all("compare").next();
    let link = |name: &str| {
        let changes = [
            ("compare", Some(name)),
            ("from", None),
            ("to", None),
            ("min", None),
            ("max", None),
        ];
        address(view.parameters, &changes)
    };
    html! {
        div.compare {
            span { "What is different about the traces that are" }
            @for (name, shown) in named {
                a href=(link(name)) aria-current=[(chosen == Some(name)).then_some("true")] { (shown) }
            }
            details open[matches!(view.selection, Some(Selection::Rectangle { .. }))] {
                summary { "in a part of the dots, or of a variant" }
                (part(view))
                (variant(view))
            }
            @if view.selection.is_some() { a href=(dots::without_selection(view)) { "Close" } }
        }
    }
}

/// What dragging does with a pointer, by typing.
fn part(view: &View<'_>) -> Markup {
    let value = |name: &'static str| view.parameters.all(name).next();
    html! {
        form.filters action="/" method="get" {
            (kept(view))
            input type="hidden" name="compare" value="selection";
            @for (name, title) in [("from", "Started from"), ("to", "to")] {
                label { (title) input type="text" name=(name) value=[value(name)] placeholder="2026-01-31T12:00:00Z" autocomplete="off"; }
            }
            @for (name, title) in [("min", "Took from"), ("max", "to")] {
                label { (title) span.unit { input type="number" min="0" step="any" name=(name) value=[value(name)]; "ms" } }
            }
            button type="submit" { "Compare" }
        }
    }
}

fn variant(view: &View<'_>) -> Markup {
    let name = match view.selection {
        Some(Selection::Variant(name)) => name,
        _ => "",
    };
    html! {
        form.filters action="/" method="get" {
            (kept(view))
            label { "Variant" input type="text" name="compare" value=(format!("variant={name}")) autocomplete="off"; }
            button type="submit" { "Compare" }
        }
    }
}

/// The parameters of the filter, for a form that changes only the selection.
fn kept(view: &View<'_>) -> Markup {
    const SELECTION: [&str; 5] = ["compare", "from", "to", "min", "max"];
    html! {
        @for (name, value) in view.parameters.pairs().filter(|(name, _)| !SELECTION.contains(name)) {
            input type="hidden" name=(name) value=(value);
        }
    }
}

pub(super) fn draw(store: &TelemetryStore, view: &View<'_>, selection: &Selection) -> Markup {
    let found = difference(store, view.matching, selection);
    let group = match selection {
        Selection::Rectangle { .. } => "the selected traces".to_owned(),
        Selection::Slow => "the slowest tenth".to_owned(),
        Selection::Failed => "the failed traces".to_owned(),
        Selection::Drifted => "the traces of a drifting version".to_owned(),
        Selection::Variant(name) => format!("the traces of variant {}", cut(name)),
    };
    html! {
        section #difference aria-label="What is different" {
            h2 { "What is different about " (group) "?" }
            (answer(&found))
        }
    }
}

fn answer(found: &Difference) -> Markup {
    let counts = format!(
        "{} selected, {} others",
        format::grouped(found.selected),
        format::grouped(found.rest)
    );
    html! {
        @if found.selected < LEAST_SELECTED {
            p.notice { (counts) ". A comparison needs at least " (LEAST_SELECTED) " selected traces: any few have something in common. Select more, or widen the filter." }
        } @else if found.rest == 0 {
            p.notice { (counts) ". Every trace is selected, so that there is nothing to compare with. Select fewer, or widen the filter." }
        } @else if found.ranked.is_empty() {
            p.notice { (counts) ". Nothing differs more than in a random selection of this size." }
        } @else {
            p.facts {
                strong { (counts) }
                span.key { span.selected { "▬" } " upper bar: selected  " span.rest { "▬" } " lower bar: others; in shares of their traces" }
            }
            ol.ranked { @for ranked in found.ranked.iter().take(OPEN) { li { (difference_of(ranked, found)) } } }
            @if found.ranked.len() > OPEN {
                details {
                    summary { (found.ranked.len() - OPEN) " smaller differences" }
                    ol.ranked start=(OPEN + 1) { @for ranked in found.ranked.iter().skip(OPEN) { li { (difference_of(ranked, found)) } } }
                }
            }
        }
        @if !found.left_out.is_empty() {
            p.hint { "Left out, with more than 50 values: " (left_out(&found.left_out)) "." }
        }
    }
}

fn left_out(names: &[String]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(MAX_LEFT_OUT)
        .map(|name| cut(name))
        .collect();
    let more = names.len().saturating_sub(MAX_LEFT_OUT);
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn difference_of(ranked: &Ranked, found: &Difference) -> Markup {
    let measure = match ranked.evidence {
        Evidence::Categories(_) => "total variation distance",
        Evidence::Numbers(_) => "Kolmogorov-Smirnov statistic",
    };
    let is_category = matches!(ranked.evidence, Evidence::Categories(_));
    let unit = match ranked.class {
        Class::Path => "Milliseconds",
        _ => "Value",
    };
    html! {
        h3 { code { (cut(&ranked.name)) } " of " (cut(&ranked.origin)) }
        p.hint { (measure) " " (format!("{:.2}", ranked.distance)) ", beyond chance " (format!("{:.2}", ranked.score)) }
        table.pairs {
            caption.hidden { "Counts by value" }
            thead { tr {
                th scope="col" { (unit) } th scope="col" { "Share" }
                th scope="col" .num { "Selected" } th scope="col" .num { "Others" }
                @if is_category { th scope="col" .num { "Lift" } }
            } }
            tbody { @match &ranked.evidence {
                Evidence::Categories(categories) => @for category in categories { (category_row(category, found)) },
                Evidence::Numbers(bins) => @for bin in bins { (bin_row(bin, bins)) },
            } }
        }
    }
}

fn category_row(category: &Category, found: &Difference) -> Markup {
    let value = if category.value.is_empty() {
        "(empty)"
    } else {
        &category.value
    };
    html! {
        tr {
            th scope="row" { (cut(value)) }
            td.bars { (pair((category.selected, found.selected), (category.rest, found.rest))) }
            td.num { (format::grouped(category.selected)) }
            td.num { (format::grouped(category.rest)) }
            td.num { (format!("{:.1}", category.lift)) "×" }
        }
    }
}

fn bin_row(bin: &Bin, bins: &[Bin]) -> Markup {
    let selected = bins.iter().map(|bin| bin.selected).sum();
    let rest = bins.iter().map(|bin| bin.rest).sum();
    html! {
        tr {
            th scope="row" { (number(bin.from)) " to " (number(bin.to)) }
            td.bars { (pair((bin.selected, selected), (bin.rest, rest))) }
            td.num { (format::grouped(bin.selected)) }
            td.num { (format::grouped(bin.rest)) }
        }
    }
}

/// Two bars, one above the other, so that they differ by more than colour.
fn pair((selected, of_selected): (usize, usize), (rest, of_rest): (usize, usize)) -> Markup {
    let share = |count: usize, of: usize| format::percent(count as f64 / of.max(1) as f64);
    html! {
        svg.pair aria-hidden="true" {
            rect.selected width=(share(selected, of_selected)) height="7" {}
            rect.rest y="8" width=(share(rest, of_rest)) height="7" {}
        }
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 || size == 0.0 {
        format!("{value:.0}")
    } else if size >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}
