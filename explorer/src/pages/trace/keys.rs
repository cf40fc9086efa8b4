//! The keys of the page, in a dialog that `?` opens.

use maud::{Markup, html};

const KEYS: [(&str, &str); 8] = [
    ("j or ↓", "next span"),
    ("k or ↑", "previous span"),
    ("→", "first child"),
    ("←", "parent"),
    ("c, C", "next and previous step of the critical path"),
    ("Enter", "to the details"),
    ("Escape", "back to the spans, then to the list"),
    ("?", "this help"),
];

pub(super) fn button() -> Markup {
    html! { button #show-keys type="button" hidden data-script aria-haspopup="dialog" { "Keys" kbd { "?" } } }
}

pub(super) fn dialog() -> Markup {
    html! {
        dialog #keys aria-labelledby="keys-title" {
            h2 #keys-title { "Keys" }
            table { tbody { @for (key, meaning) in KEYS { tr { th scope="row" { kbd { (key) } } td { (meaning) } } } } }
            // A key that is a character may be pressed by a voice or by mistake (WCAG 2.2, 2.1.4).
            p { label { input #single-keys type="checkbox" checked; " Keys that are one character act" } }
            form method="dialog" { button { "Close" } }
        }
    }
}
