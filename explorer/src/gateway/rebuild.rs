//! The request of a stored trace, read off its spans.

use super::ask::{Ask, Cache, Subject};
use crate::trace::{SpanData, Trace};

const ROUTE: &str = "/v1/predictions";

/// The request, or why there is none: the words are for a person.
///
/// Variant, use of the store and fault are not on spans as they were asked for. Whoever sends it
/// again chooses them.
pub(crate) fn rebuild(trace: &Trace) -> Result<Ask, String> {
    let root = trace
        .spans
        .iter()
        .find(|span| is_predictions(span))
        .ok_or("its spans have no request for predictions (POST /v1/predictions)")?;
    let model = root
        .text("ml.model_name")
        .ok_or("the gateway's span names no model: the request was refused before it was read")?;
    let rows = root.attributes.get("ml.batch_size");
    if rows
        .and_then(serde_json::Value::as_u64)
        .is_some_and(|rows| rows != 1)
    {
        return Err("it asked for several predictions, whose ids are not on its spans".to_owned());
    }
    let id = root
        .text("ml.data_id")
        .ok_or("the gateway's span names no id")?;
    let captured = trace
        .spans
        .iter()
        .find_map(|span| span.text("ml.input.text"));
    let subject = match captured {
        Some(text) => Subject::Text(text),
        None if is_text(&id) => {
            return Err(
                "it was about a text, and texts are not captured: a model service that runs with --capture-text puts them on its spans when it computes"
                    .to_owned(),
            );
        }
        None => Subject::Entity(id),
    };
    Ok(Ask {
        model,
        subject,
        variant: None,
        cache: Cache::Use,
        fault: None,
    })
}

fn is_predictions(span: &SpanData) -> bool {
    let route = span.text("http.route");
    route.is_some_and(|route| route == ROUTE || route.starts_with("/v1/predictions/"))
}

/// A text is stored by the hash of it, 16 hex digits.
fn is_text(id: &str) -> bool {
    let hash = id.strip_prefix("text-");
    hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
