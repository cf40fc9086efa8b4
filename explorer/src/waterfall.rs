//! The waterfall of a trace for a terminal: a row for each span with its service, its place in the tree, its bar on the
//! shared time axis, its duration, and what one wants to know of it first.

mod layout;
mod line;
pub(crate) mod text;

use std::collections::HashMap;

use crate::trace::{SpanData, SpanStatus, Trace};
use layout::Layout;
use line::{Line, Paint};
use text::{clean, duration, fit, width};

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Columns of the terminal; fewer than 60 are taken as 60.
    pub width: usize,
    /// Whether to colour, one hue for each service.
    pub colour: bool,
}

/// Draws the whole trace; every line ends with a newline and none is wider than `style.width`.
pub fn render(trace: &Trace, style: &Style) -> String {
    let rows = rows(trace, &Branches::of(style.width));
    let layout = Layout::new(style.width, &rows);
    let hues = hues(trace);
    let mut drawing = heading(trace, &layout, style.colour);
    for row in &rows {
        let hue = hues
            .get(row.span.service.as_str())
            .copied()
            .unwrap_or(Paint::Plain);
        draw(
            row,
            &layout,
            &Axis::of(trace),
            hue,
            style.colour,
            &mut drawing,
        );
    }
    drawing
}

/// A span with its texts made and its place in the tree known.
struct Row<'a> {
    span: &'a SpanData,
    service: String,
    /// `│  ├─ `; empty at the top.
    branch: String,
    /// The same for the lines below, down to the children.
    below: String,
    name: String,
    notes: Vec<Note>,
}

/// A short text beside a span.
struct Note {
    text: String,
    paint: Paint,
}

/// The time that the width of the bars stands for.
struct Axis {
    start: u64,
    duration: u64,
}

fn heading(trace: &Trace, layout: &Layout, colour: bool) -> String {
    let mut lines = String::new();
    let mut line = Line::new(colour);
    let counts = format!(
        "  {} · {} · {}",
        duration(trace.duration()),
        counted(trace.spans.len(), "span"),
        counted(trace.services().len(), "service"),
    );
    line.push("trace ", Paint::Dim);
    line.push(&trace.trace_id, Paint::Bold);
    line.push(&fit(&counts, layout.width.saturating_sub(38)), Paint::Plain);
    line.end(&mut lines);
    if let Some(note) = incomplete(trace) {
        let mut line = Line::new(colour);
        line.push(&fit(&note, layout.width), Paint::Warning);
        line.end(&mut lines);
    }
    let mut line = Line::new(colour);
    let total = duration(trace.duration());
    line.push("service", Paint::Dim);
    line.pad_to(layout.name);
    line.push("span", Paint::Dim);
    line.pad_to(layout.bar);
    line.push("0", Paint::Dim);
    line.pad_to(layout.bar + layout.bar_width - width(&total));
    line.push(&total, Paint::Dim);
    line.end(&mut lines);
    lines
}

/// What is missing of the trace, if anything.
fn incomplete(trace: &Trace) -> Option<String> {
    let (roots, orphans) = (trace.roots().count(), trace.orphans().count());
    let mut missing = Vec::new();
    match roots {
        0 => missing.push("no root span".to_owned()),
        1 => {}
        more => missing.push(format!("{more} root spans")),
    }
    if orphans > 0 {
        missing.push(format!(
            "{} whose parent is not here",
            counted(orphans, "span")
        ));
    }
    (!missing.is_empty()).then(|| format!("⚠ incomplete: {}", missing.join(", ")))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn rows<'a>(trace: &'a Trace, branches: &Branches) -> Vec<Row<'a>> {
    let spans = &trace.spans;
    // Whether another child of the same parent follows: read backwards, a level is open from its last child upwards
    // until a span above it.
    let mut followed = vec![false; spans.len()];
    let mut open: Vec<bool> = Vec::new();
    for (at, span) in spans.iter().enumerate().rev() {
        open.resize(span.depth + 1, false);
        followed[at] = std::mem::replace(&mut open[span.depth], true);
    }
    let mut guides: Vec<bool> = Vec::new();
    let mut rows = Vec::with_capacity(spans.len());
    for (at, span) in spans.iter().enumerate() {
        guides.truncate(span.depth);
        guides.push(followed[at]);
        let has_children = spans
            .get(at + 1)
            .is_some_and(|next| next.depth > span.depth);
        rows.push(Row {
            span,
            service: clean(&span.service),
            branch: branches.branch(&guides),
            below: branches.below(&guides, has_children),
            name: clean(&span.name),
            notes: notes(span, &trace.trace_id),
        });
    }
    rows
}

/// The pieces that a tree is drawn with. Guides say for each level whether it goes on below.
struct Branches {
    fork: &'static str,
    last: &'static str,
    stem: &'static str,
    none: &'static str,
}

impl Branches {
    /// Levels drawn; a deeper span starts with `…` and shows the levels next to it.
    const LEVELS: usize = 8;

    /// Narrow terminals get narrow trees, so that names keep their room.
    fn of(columns: usize) -> Branches {
        if columns < 100 {
            Branches {
                fork: "├ ",
                last: "└ ",
                stem: "│ ",
                none: "  ",
            }
        } else {
            Branches {
                fork: "├─ ",
                last: "└─ ",
                stem: "│  ",
                none: "   ",
            }
        }
    }

    fn branch(&self, guides: &[bool]) -> String {
        match guides {
            [] | [_] => String::new(),
            [_, above @ .., own] => self.stems(above) + if *own { self.fork } else { self.last },
        }
    }

    fn below(&self, guides: &[bool], has_children: bool) -> String {
        let own = if guides.len() > 1 {
            self.stems(&guides[1..])
        } else {
            String::new()
        };
        own + if has_children { self.stem } else { self.none }
    }

    fn stems(&self, levels: &[bool]) -> String {
        let hidden = levels.len().saturating_sub(Self::LEVELS);
        let mut stems = String::from(if hidden > 0 { "… " } else { "" });
        stems.extend(
            levels[hidden..]
                .iter()
                .map(|open| if *open { self.stem } else { self.none }),
        );
        stems
    }
}

/// What one wants to know of a span first, the most urgent first.
fn notes(span: &SpanData, trace_id: &str) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |text: String, paint| {
        notes.push(Note {
            text: clean(&text),
            paint,
        })
    };
    if let SpanStatus::Error(_) = &span.status {
        note(
            format!(
                "✗ {}",
                span.text("error.type")
                    .unwrap_or_else(|| "error".to_owned())
            ),
            Paint::Error,
        );
    }
    if let (true, Some(parent)) = (span.orphan, &span.parent) {
        note(
            format!("⚠ parent {} missing", short(parent)),
            Paint::Warning,
        );
    }
    // An error type that is the status itself, as the HTTP conventions have it, is said once.
    let status = span.text("http.response.status_code");
    if let Some(status) = status
        .filter(|status| !(span.is_error() && span.text("error.type").as_ref() == Some(status)))
    {
        note(status, Paint::Dim);
    }
    if let Some(system) = span.text("db.system.name") {
        note(system, Paint::Dim);
    }
    if let Some(model) = span.text("ml.model_name") {
        let version = span
            .text("ml.model_version")
            .filter(|version| !version.is_empty())
            .map_or_else(String::new, |version| format!(" v{version}"));
        note(model + &version, Paint::Dim);
    }
    for link in &span.links {
        let other = if link.trace_id == trace_id {
            String::new()
        } else {
            format!("{}/", short(&link.trace_id))
        };
        note(format!("↗ {other}{}", short(&link.span_id)), Paint::Link);
    }
    notes
}

/// Eight digits of an id: enough to tell it from the others on the screen.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn draw(
    row: &Row<'_>,
    layout: &Layout,
    axis: &Axis,
    hue: Paint,
    colour: bool,
    drawing: &mut String,
) {
    let mut line = Line::new(colour);
    line.push(&fit(&row.service, layout.service_width), hue);
    line.pad_to(layout.name);
    let branch = fit(&row.branch, layout.name_width.saturating_sub(4));
    let name_paint = if row.span.is_error() {
        Paint::Error
    } else {
        Paint::Plain
    };
    line.push(&branch, Paint::Dim);
    line.push(
        &fit(&row.name, layout.name_width - width(&branch)),
        name_paint,
    );
    line.pad_to(layout.bar);
    line.push(&axis.bar(row.span, layout.bar_width), hue);
    let duration = duration(row.span.duration());
    line.pad_to(layout.notes - 1 - width(&duration));
    line.push(&duration, Paint::Plain);
    let shown = layout.notes_that_fit(&row.notes);
    for (at, note) in row.notes[..shown].iter().enumerate() {
        line.pad_to(if at == 0 {
            layout.notes
        } else {
            line.width() + 1
        });
        line.push(&note.text, note.paint);
    }
    // An error is marked in its own row even if its type has to go below.
    if shown == 0 && row.span.is_error() {
        line.pad_to(layout.notes);
        line.push("✗", Paint::Error);
    }
    line.end(drawing);
    draw_below(row, &row.notes[shown..], layout, colour, drawing);
}

/// The notes that had no room, and the description of an error, under the name.
fn draw_below(row: &Row<'_>, left: &[Note], layout: &Layout, colour: bool, drawing: &mut String) {
    let message = match &row.span.status {
        SpanStatus::Error(message) if !message.is_empty() => Some(Note {
            text: clean(message),
            paint: Paint::Error,
        }),
        _ => None,
    };
    let below = fit(&row.below, layout.name_width.saturating_sub(4));
    let room = layout.width - layout.name - width(&below);
    let mut line = Line::new(colour);
    for note in left.iter().chain(&message) {
        let text = fit(&note.text, room);
        if line.width() > 0 && line.width() + 2 + width(&text) > layout.width {
            std::mem::replace(&mut line, Line::new(colour)).end(drawing);
        }
        if line.width() == 0 {
            line.pad_to(layout.name);
            line.push(&below, Paint::Dim);
        } else {
            line.pad_to(line.width() + 2);
        }
        line.push(&text, note.paint);
    }
    if line.width() > 0 {
        line.end(drawing);
    }
}

impl Axis {
    fn of(trace: &Trace) -> Axis {
        Axis {
            start: trace.start(),
            duration: trace.duration().max(1),
        }
    }

    /// A bar in half columns, at least one of them however short the span.
    fn bar(&self, span: &SpanData, columns: usize) -> String {
        let halves = columns * 2;
        let place = |time: u64| {
            time.saturating_sub(self.start) as f64 / self.duration as f64 * halves as f64
        };
        let from = (place(span.start) as usize).min(halves - 1);
        let to = (place(span.end).ceil() as usize).clamp(from + 1, halves);
        let covered = |half: usize| (from..to).contains(&half);
        let mut bar = String::new();
        for column in 0..to.div_ceil(2) {
            bar.push(match (covered(column * 2), covered(column * 2 + 1)) {
                (true, true) => '━',
                (true, false) => '╸',
                (false, true) => '╺',
                (false, false) => ' ',
            });
        }
        bar
    }
}

fn hues(trace: &Trace) -> HashMap<&str, Paint> {
    trace
        .services()
        .into_iter()
        .enumerate()
        .map(|(at, service)| (service, Paint::hue(at)))
        .collect()
}

#[cfg(test)]
pub(crate) mod example;
#[cfg(test)]
mod tests;
