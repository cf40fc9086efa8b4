//! What a reader takes along: the trace context and a request as curl sends it.

use maud::{Markup, html};

use super::view::View;
use super::within;
use crate::gateway::rebuild;
use crate::trace::{SpanData, Trace};

/// Texts beside buttons that copy them; the buttons need a script, the texts do not.
pub(super) fn buttons(view: &View, span: &SpanData) -> Markup {
    let traceparent = format!("00-{}-{}-01", view.trace.trace_id, span.span_id);
    html! {
        (copied("traceparent", &traceparent))
        @if let Some(command) = curl(span, &traceparent, body(&view.trace, span)) { (copied("curl", &command)) }
    }
}

fn copied(title: &str, text: &str) -> Markup {
    html! {
        div.copied {
            span.soft { (title) } " "
            button type="button" hidden data-script data-copy=(text) aria-label=(format!("Copy {title}")) { "Copy" }
            pre tabindex="0" { (text) }
        }
    }
}

/// The body of a request for a prediction, read off the spans; any other body is in no trace.
fn body(trace: &Trace, span: &SpanData) -> Option<String> {
    let is_first = trace
        .spans
        .first()
        .is_some_and(|first| first.span_id == span.span_id);
    let is_predictions = span
        .text("http.route")
        .is_some_and(|route| route == "/v1/predictions");
    if !is_first || !is_predictions {
        return None;
    }
    Some(rebuild(trace).ok()?.body().to_string())
}

/// The request of an HTTP span.
fn curl(span: &SpanData, traceparent: &str, body: Option<String>) -> Option<String> {
    let method = span.text("http.request.method")?;
    let address = span.text("url.full").or_else(|| assembled(span))?;
    let mut command = format!(
        "curl -X {} --url {} -H {}",
        quoted(&method),
        quoted(&address),
        quoted(&format!("traceparent: {traceparent}"))
    );
    if matches!(method.as_str(), "POST" | "PUT" | "PATCH") {
        let data = body.map_or_else(|| "@body.json".to_owned(), |body| quoted(&body));
        command.extend([" -H 'content-type: application/json' --data ", &data]);
    }
    Some(command)
}

/// The address from its parts, as a server records them.
fn assembled(span: &SpanData) -> Option<String> {
    let scheme = span.text("url.scheme").unwrap_or_else(|| "http".to_owned());
    let port = span.text("server.port").map(|port| format!(":{port}"));
    let query = span.text("url.query").map(|query| format!("?{query}"));
    Some(format!(
        "{scheme}://{}{}{}{}",
        span.text("server.address")?,
        port.unwrap_or_default(),
        span.text("url.path")?,
        query.unwrap_or_default()
    ))
}

/// One word for a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", within(text, 2_000).replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::curl;
    use crate::waterfall::example;

    #[test]
    fn a_hostile_address_stays_one_word_of_the_shell() {
        let mut span = example::miss().spans[0].clone();
        assert_eq!(
            curl(&span, "00-a-b-01", None),
            None,
            "no address, no command"
        );
        for (key, value) in [
            ("http.request.method", json!("POST")),
            ("server.address", json!("127.0.0.1")),
            ("server.port", json!(8080)),
            ("url.path", json!("/v1/x'; rm -rf ~ #\n$(id)")),
        ] {
            span.attributes.insert(key.to_owned(), value);
        }
        assert_eq!(
            curl(&span, "00-a-b-01", None).as_deref(),
            Some(
                "curl -X 'POST' --url 'http://127.0.0.1:8080/v1/x'\\''; rm -rf ~ # $(id)' -H 'traceparent: 00-a-b-01' \
                 -H 'content-type: application/json' --data @body.json"
            )
        );
    }
}
