//! The time by span name: where the trace spent it.

use maud::{Markup, html};

use super::view::View;
use super::within;
use crate::pages::format;
use crate::pages::hue::hue;
use crate::self_time::{NameTime, by_name};

/// Names that are listed, the slowest.
const MAX_NAMES: usize = 30;

pub(super) fn section(view: &View) -> Markup {
    let names = by_name(&view.trace);
    let longest = names.first().map_or(1, |name| name.self_time.max(1));
    html! {
        section.box aria-labelledby="names-title" {
            h2 #names-title { "Time by span name" }
            table.names {
                thead { tr { th scope="col" { "Name" } th scope="col" .num { "Spans" } th scope="col" .num { "Own time" } } }
                tbody { @for name in names.iter().take(MAX_NAMES) { (row(name, longest)) } }
            }
            @if names.len() > MAX_NAMES { p.soft { (names.len() - MAX_NAMES) " more names" } }
        }
    }
}

fn row(name: &NameTime, longest: u64) -> Markup {
    let part = name.self_time as f64 / longest as f64;
    html! {
        tr {
            td {
                span.dot.(hue(&name.service)) aria-hidden="true" {}
                (within(&name.name, 80)) span.soft { " of " (within(&name.service, 60)) }
                @if name.critical > 0 { span.mark.path-mark title=(format!("{} on the critical path", format::duration(name.critical))) { "◆" } }
            }
            td.num { (name.spans) }
            td.num {
                (format::duration(name.self_time))
                svg.share.(hue(&name.service)) aria-hidden="true" { rect.bar width=(format::percent(part)) height="4" {} }
            }
        }
    }
}
