//! `/traces/{trace_id}/replay`: the request of a stored trace again, another way, and both side by side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use maud::{Markup, html};

use super::watch::comparison;
use super::{HEAD, TracePath, form, no_gateway, see_other, start, stored, unknown};
use crate::gateway::{Arrival, Ask, Form, Gateway, Subject, arrival, rebuild};
use crate::pages::shell;
use crate::store::TelemetryStore;
use crate::trace::Trace;

/// How long the answer waits for the new trace, so that it can lead to the comparison. After it, it
/// leads to the page that shows the trace arriving, which has the link. A page has ten seconds.
const WAIT: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_millis(50);

/// The choices for the replay.
pub(super) async fn page(
    State(gateway): State<Option<Gateway>>,
    State(store): State<Arc<TelemetryStore>>,
    Path(trace_id): TracePath,
) -> Response {
    let Some(trace) = stored(store, trace_id.clone()).await else {
        return unknown(&trace_id);
    };
    shown(gateway.as_ref(), &trace, &Form::default(), None).await
}

/// Sends it.
pub(super) async fn send(
    State(gateway): State<Option<Gateway>>,
    State(store): State<Arc<TelemetryStore>>,
    Path(trace_id): TracePath,
    body: Bytes,
) -> Response {
    let Some(trace) = stored(Arc::clone(&store), trace_id.clone()).await else {
        return unknown(&trace_id);
    };
    let form = Form::parse(&body);
    let Some(client) = &gateway else {
        return shown(None, &trace, &form, None).await;
    };
    let ask = request_of(client, &trace).and_then(|ask| form.adjust(ask));
    let original = trace.trace_id.clone();
    match ask.and_then(|ask| start(client, ask, Some(original))) {
        Ok(replay) => follow(client, store, &trace.trace_id, &replay).await,
        Err(problem) => shown(gateway.as_ref(), &trace, &form, Some(&problem)).await,
    }
}

/// What was sent from here is remembered, a text as well; of others the spans tell.
fn request_of(gateway: &Gateway, trace: &Trace) -> Result<Ask, String> {
    match gateway.sent(&trace.trace_id) {
        Some(sent) => Ok(sent.ask),
        None => rebuild(trace),
    }
}

/// To the comparison when the new trace is whole.
async fn follow(
    gateway: &Gateway,
    store: Arc<TelemetryStore>,
    original: &str,
    replay: &str,
) -> Response {
    let end = Instant::now() + WAIT;
    while Instant::now() < end {
        let trace = stored(Arc::clone(&store), replay.to_owned()).await;
        let state = gateway
            .sent(replay)
            .map(|sent| arrival(trace.as_ref(), &sent));
        match state {
            Some(Arrival::Whole) => return see_other(&comparison(original, replay)),
            Some(Arrival::Running | Arrival::Arriving(_)) => tokio::time::sleep(LOOK).await,
            Some(Arrival::Late(_) | Arrival::NoTrace) | None => break,
        }
    }
    see_other(&format!("/try/{replay}"))
}

async fn shown(
    gateway: Option<&Gateway>,
    trace: &Trace,
    given: &Form,
    problem: Option<&str>,
) -> Response {
    let form = match gateway {
        None => no_gateway(),
        Some(gateway) => match request_of(gateway, trace) {
            Ok(ask) => replay_form(gateway, trace, &ask, given).await,
            Err(why) => html! { p.notice { "This request cannot be sent again: " (why) "." } },
        },
    };
    let content = html! {
        p.back { a href=(format!("/traces/{}", trace.trace_id)) { "← The trace" } }
        h1 { "Send it again" }
        p.lead { "The same request goes through the gateway another way; then both traces are compared." }
        @if let Some(problem) = problem { p.notice.bad role="alert" { (problem) } }
        (form)
    };
    let status = match problem {
        Some(_) => StatusCode::BAD_REQUEST,
        None => StatusCode::OK,
    };
    shell::page(&HEAD, &content)
        .with_status(status)
        .into_response()
}

async fn replay_form(gateway: &Gateway, trace: &Trace, ask: &Ask, given: &Form) -> Markup {
    let choices = match gateway.choices().await {
        Ok(choices) => choices,
        Err(problem) => return html! { p.notice.bad role="alert" { (problem) } },
    };
    let model = choices.models.iter().find(|model| model.name == ask.model);
    let variants = model.map_or(&[][..], |model| &model.variants);
    let again = Form::parse(b"cache=no-cache");
    let given = if given.is_empty() { &again } else { given };
    html! {
        form.ask method="post" action=(format!("/traces/{}/replay", trace.trace_id)) {
            h2 { (ask.model) }
            p { @match &ask.subject {
                Subject::Entity(id) => { "the prediction of " code { (id) } },
                Subject::Text(text) => { "the prediction of “" (text) "”" },
            } }
            (form::options(variants.iter().map(String::as_str), choices.faults, given))
            button type="submit" { "Send again and compare" }
        }
    }
}
