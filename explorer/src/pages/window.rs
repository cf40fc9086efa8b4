//! The choice of how far back a page looks.

use maud::{Markup, html};

const CHOICES: [(u64, &str); 5] = [
    (5, "5 min"),
    (15, "15 min"),
    (60, "1 h"),
    (360, "6 h"),
    (1_440, "24 h"),
];

/// Links to the same page with another window.
pub(super) fn choice(minutes: u64) -> Markup {
    html! {
        nav.window aria-label="How far back" {
            @for (choice, name) in CHOICES {
                a href=(format!("?minutes={choice}")) aria-current=[(choice == minutes).then_some("true")] { (name) }
            }
        }
    }
}

/// How much of the window there is something of.
pub(super) fn seen(minutes: u64, seconds: f64) -> String {
    if seconds + 1.0 >= minutes as f64 * 60.0 {
        format!("the last {minutes} minutes")
    } else {
        let seconds = super::format::duration((seconds * 1e9) as u64);
        format!("the last {seconds}; nothing arrived before")
    }
}
