//! What every page has: head, navigation, frame.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use crate::error::ReadError;

/// A finished page.
pub(super) struct Page {
    status: StatusCode,
    html: Markup,
}

/// The parts of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Traces,
    Map,
    Models,
    Metrics,
    Logs,
    Rules,
    Try,
    /// None of them.
    Elsewhere,
}

const SECTIONS: [(Section, &str, &str); 7] = [
    (Section::Traces, "/", "Traces"),
    (Section::Map, "/map", "Map"),
    (Section::Models, "/models", "Models"),
    (Section::Metrics, "/metrics", "Metrics"),
    (Section::Logs, "/logs", "Logs"),
    (Section::Rules, "/rules", "Rules"),
    (Section::Try, "/try", "Try it"),
];

/// What differs between the frames of two pages.
pub(super) struct Head<'a> {
    pub title: &'a str,
    pub section: Section,
    /// Files of `/assets/` beside `base.css`.
    pub styles: &'a [&'a str],
    /// Files of `/assets/` beside `base.js`.
    pub scripts: &'a [&'a str],
    /// Whether the page has something that changes by itself (`data-live`).
    pub live: bool,
}

const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cg stroke-width='3' \
    stroke-linecap='round'%3E%3Cpath stroke='%232f6fde' d='M2 3.500h12'/%3E%3Cpath stroke='%231f9d6b' d='M4 8h7'/%3E%3Cpath stroke='%23c77d0a' d='M6 12.500h4'/%3E%3C/g%3E%3C/svg%3E";

/// The whole page.
pub(super) fn page(head: &Head<'_>, main: &Markup) -> Page {
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (head.title) " · Throughline explorer" }
                link rel="icon" href=(ICON);
                @for name in ["base.css"].iter().chain(head.styles) {
                    link rel="stylesheet" href=(format!("/assets/{name}"));
                }
                @for name in ["base.js"].iter().chain(head.scripts) {
                    script type="module" src=(format!("/assets/{name}")) {}
                }
            }
            body {
                a.skip href="#main" { "Skip to content" }
                (top(head))
                main #main tabindex="-1" { (main) }
            }
        }
    };
    Page {
        status: StatusCode::OK,
        html,
    }
}

/// A page for a read that fails, with its status.
pub(super) fn failure(error: &ReadError) -> Response {
    let head = Head {
        title: "Not shown",
        section: Section::Elsewhere,
        styles: &[],
        scripts: &[],
        live: false,
    };
    let main = html! {
        h1 { "This cannot be shown" }
        p.notice { (runtime::chain(error)) }
        p { a href="/" { "All traces" } }
    };
    let mut page = page(&head, &main);
    page.status = error.status();
    page.into_response()
}

fn top(head: &Head<'_>) -> Markup {
    html! {
        header.top {
            a.brand href="/" {
                svg viewBox="0 0 16 16" aria-hidden="true" {
                    path.b1 d="M2 3.500h12" {}
                    path.b2 d="M4 8h7" {}
                    path.b3 d="M6 12.500h4" {}
                }
                "Throughline " span { "explorer" }
            }
            nav aria-label="Pages" {
                @for (section, address, name) in SECTIONS {
                    a href=(address) aria-current=[(section == head.section).then_some("page")] { (name) }
                }
            }
            // Only a script can make it live, and shows it.
            @if head.live {
                label.live hidden { input #live type="checkbox" checked; " Live" }
            }
        }
    }
}

impl Page {
    pub(super) fn with_status(self, status: StatusCode) -> Page {
        Page { status, ..self }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let html = self.html.into_string();
        let headers = [(CONTENT_TYPE, "text/html; charset=utf-8")];
        (self.status, headers, html).into_response()
    }
}
