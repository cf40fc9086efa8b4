//! `/sign-in`: asks a person for the explorer's token, once.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use bytes::Bytes;
use maud::html;

use super::shell::{self, Head, Section};
use crate::error::ReadError;
use crate::gateway::Form;
use crate::state::ApiState;
use crate::token::Token;

/// The address of the form.
pub(crate) const SIGN_IN: &str = "/sign-in";
const MAX_ADDRESS: usize = 2_048;

pub(super) fn routes() -> Router<ApiState> {
    // Whoever loads the form's answer anew is asked again, or sees the list.
    let again = || async { Redirect::to("/") };
    Router::new().route(SIGN_IN, post(sign_in).get(again))
}

/// The form, in the place of the page that was wanted.
pub(crate) fn sign_in_page(wanted: &str, problem: Option<&str>) -> Response {
    let head = Head {
        title: "Sign in",
        section: Section::Elsewhere,
        styles: &["try.css"],
        scripts: &[],
        live: false,
    };
    let content = html! {
        h1 { "This explorer asks for its token" }
        @if let Some(problem) = problem { p.notice.bad role="alert" { (problem) } }
        form.ask method="post" action=(SIGN_IN) {
            input type="hidden" name="to" value=(destination(wanted));
            label { "Token" input type="password" name="token" required autocomplete="current-password" autofocus; }
            button type="submit" { "Sign in" }
        }
        p.hint {
            "It is in the file that the explorer was started with (" code { "--explorer-token-file" }
            "). This browser keeps a cookie for thirty days."
        }
    };
    let page = shell::page(&head, &content).with_status(StatusCode::UNAUTHORIZED);
    page.into_response()
}

async fn sign_in(State(token): State<Option<Token>>, body: Bytes) -> Response {
    let Some(token) = token else {
        return ReadError::NoRoute.into_response();
    };
    let form = Form::parse(&body);
    if !token.is(form.get("token")) {
        return sign_in_page(form.get("to"), Some("This is not the token."));
    }
    let headers = [
        (LOCATION, destination(form.get("to")).to_owned()),
        (SET_COOKIE, String::new()),
    ];
    let mut response = (StatusCode::SEE_OTHER, headers).into_response();
    response
        .headers_mut()
        .insert(SET_COOKIE, token.set_cookie());
    response
}

/// An address of this explorer, whatever was asked for: browsers take `//host`, `/\host` and, since
/// they leave out tabs, `/<tab>/host` for addresses elsewhere (URL Standard, basic URL parser).
fn destination(wanted: &str) -> &str {
    let ours = wanted.starts_with('/')
        && !wanted.starts_with("//")
        && wanted.len() <= MAX_ADDRESS
        && wanted
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if ours { wanted } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::destination;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for ours in ["/", "/traces/ab?x=1&y=%2F", "/compare?a=1&b=2"] {
            assert_eq!(destination(ours), ours);
        }
        for elsewhere in [
            "",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "evil.example",
            "/a b",
            "/a\r\nx: y",
        ] {
            assert_eq!(destination(elsewhere), "/", "{elsewhere:?}");
        }
    }
}
