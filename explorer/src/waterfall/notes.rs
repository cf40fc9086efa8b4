//! The short texts beside a span: its error, its status, its database, its model, its links.

use super::line::Paint;
use super::text::clean;
use crate::place::Place;
use crate::trace::{SpanData, SpanLink};

/// One text beside a span.
pub(super) struct Note {
    pub text: String,
    pub paint: Paint,
}

impl Note {
    pub(super) fn new(text: &str, paint: Paint) -> Note {
        Note {
            text: clean(text),
            paint,
        }
    }
}

/// The notes of a span, the most urgent first.
pub(super) fn notes(span: &SpanData, trace_id: &str) -> Vec<Note> {
    let mut notes = Vec::new();
    let error_type = span.text("error.type");
    if span.is_error() {
        let error = error_type.as_deref().unwrap_or("error");
        notes.push(Note::new(&format!("✗ {error}"), Paint::Error));
    }
    let parent = short(span.parent.as_deref().unwrap_or_default());
    match span.place {
        Place::Root | Place::Child => {}
        Place::RemoteRoot => {
            notes.push(Note::new(&format!("↖ caller {parent}"), Paint::Link));
        }
        Place::Orphan => {
            notes.push(Note::new(
                &format!("⚠ parent {parent} missing"),
                Paint::Warning,
            ));
        }
        Place::Cycle => notes.push(Note::new("⚠ its own ancestor", Paint::Warning)),
    }
    // The HTTP conventions make the status code the error type, which is printed once.
    if let Some(status) = span.text("http.response.status_code")
        && !(span.is_error() && error_type.as_ref() == Some(&status))
    {
        notes.push(Note::new(&status, Paint::Dim));
    }
    if let Some(system) = span.text("db.system.name") {
        notes.push(Note::new(&system, Paint::Dim));
    }
    if let Some(model) = model(span) {
        notes.push(Note::new(&model, Paint::Dim));
    }
    notes.extend(rank(span).map(|rank| Note::new(&rank, Paint::Dim)));
    // All predictions of a model's version link to its training, so that link tells nothing of this
    // one. The API and the page have it.
    let links = span
        .links
        .iter()
        .filter(|link| !link.attributes.contains_key("ml.run_id"))
        .map(|link| linked(link, trace_id));
    notes.extend(links.map(|link| Note::new(&link, Paint::Link)));
    notes
}

fn model(span: &SpanData) -> Option<String> {
    let name = span.text("ml.model_name")?;
    match span.text("ml.model_version") {
        Some(version) if !version.is_empty() => Some(format!("{name} v{version}")),
        _ => Some(name),
    }
}

/// Which rank of a distributed training, and where its time went: a straggler computes while the
/// others wait for it.
fn rank(span: &SpanData) -> Option<String> {
    let rank = span.text("ml.training.rank")?;
    let seconds = |name| span.text(name)?.parse::<f64>().ok();
    let computed = seconds("ml.training.compute.duration");
    let waited = seconds("ml.training.all_reduce.duration");
    Some(match (computed, waited) {
        (Some(computed), Some(waited)) => {
            format!("rank {rank}: computed {computed:.2} s, all-reduce {waited:.2} s")
        }
        _ => format!("rank {rank}"),
    })
}

fn linked(link: &SpanLink, trace_id: &str) -> String {
    let span = short(&link.span_id);
    if link.trace_id == trace_id {
        format!("↗ {span}")
    } else {
        format!("↗ {}/{span}", short(&link.trace_id))
    }
}

/// Eight digits of an id: enough to distinguish the ids on one screen.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
