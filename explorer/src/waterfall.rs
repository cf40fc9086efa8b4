//! The waterfall of a trace for a terminal: a row for each span with its service, its place in the
//! tree, its bar on the shared time axis, its duration and short notes.

mod axis;
mod branches;
mod heading;
mod layout;
mod line;
mod notes;
pub(crate) mod text;

use std::collections::HashMap;
use std::mem;

use crate::trace::{SpanData, SpanStatus, Trace};
use axis::Axis;
use branches::Branches;
use layout::{Layout, RowSize};
use line::{Line, Paint};
use notes::Note;
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
    let layout = Layout::new(style.width, rows.iter().map(SpanRow::size));
    let mut drawing = heading::heading(trace, &layout, style.colour);
    let hues = hues(trace);
    let axis = Axis::of(trace);
    for row in &rows {
        let hue = hues.get(row.span.service.as_str());
        let mut row_drawing = RowDrawing {
            row,
            layout: &layout,
            hue: hue.copied().unwrap_or(Paint::Plain),
            colour: style.colour,
            drawing: &mut drawing,
        };
        let shown = row_drawing.draw(&axis);
        row_drawing.draw_below(&row.notes[shown..]);
    }
    drawing
}

/// A span with its texts.
struct SpanRow<'a> {
    span: &'a SpanData,
    service: String,
    /// `│  ├─ `; empty at the top.
    branch: String,
    /// The same for the lines of notes below the name.
    below: String,
    name: String,
    notes: Vec<Note>,
}

fn rows<'a>(trace: &'a Trace, branches: &Branches) -> Vec<SpanRow<'a>> {
    let spans = &trace.spans;
    // Whether a sibling follows. Read backwards, a level is open from its last child up to the
    // parent.
    let mut followed = vec![false; spans.len()];
    let mut open: Vec<bool> = Vec::new();
    for (at, span) in spans.iter().enumerate().rev() {
        open.resize(span.depth + 1, false);
        followed[at] = mem::replace(&mut open[span.depth], true);
    }
    let mut guides: Vec<bool> = Vec::new();
    let mut rows = Vec::with_capacity(spans.len());
    for (at, span) in spans.iter().enumerate() {
        guides.truncate(span.depth);
        guides.push(followed[at]);
        let has_children = spans
            .get(at + 1)
            .is_some_and(|next| next.depth > span.depth);
        rows.push(SpanRow {
            span,
            service: clean(&span.service),
            branch: branches.branch(&guides),
            below: branches.below(&guides, has_children),
            name: clean(&span.name),
            notes: notes::notes(span, &trace.trace_id),
        });
    }
    rows
}

impl SpanRow<'_> {
    fn size(&self) -> RowSize {
        RowSize {
            service: width(&self.service),
            name: width(&self.branch) + width(&self.name),
            notes: layout::notes_width(&self.notes),
        }
    }
}

/// One row on its way into the drawing.
struct RowDrawing<'a> {
    row: &'a SpanRow<'a>,
    layout: &'a Layout,
    hue: Paint,
    colour: bool,
    drawing: &'a mut String,
}

impl RowDrawing<'_> {
    /// Draws the row itself and returns how many of its notes had room.
    fn draw(&mut self, axis: &Axis) -> usize {
        let (row, layout) = (self.row, self.layout);
        let mut line = Line::new(self.colour);
        line.push(&fit(&row.service, layout.service_width), self.hue);
        line.pad_to(layout.name);
        let branch = fit(&row.branch, layout.name_width.saturating_sub(4));
        let name_paint = if row.span.is_error() {
            Paint::Error
        } else {
            Paint::Plain
        };
        line.push(&branch, Paint::Dim);
        let name = fit(&row.name, layout.name_width - width(&branch));
        line.push(&name, name_paint);
        line.pad_to(layout.bar);
        line.push(&axis.bar(row.span, layout.bar_width), self.hue);
        let duration = duration(row.span.duration());
        line.pad_to(layout.notes - 1 - width(&duration));
        line.push(&duration, Paint::Plain);
        let shown = self.push_notes(&mut line);
        line.end(self.drawing);
        shown
    }

    fn push_notes(&self, line: &mut Line) -> usize {
        let (row, layout) = (self.row, self.layout);
        let shown = layout.notes_that_fit(&row.notes);
        for (at, note) in row.notes[..shown].iter().enumerate() {
            line.pad_to(if at == 0 {
                layout.notes
            } else {
                line.width() + 1
            });
            line.push(&note.text, note.paint);
        }
        // An error is marked in its own row, even if its type has to go below.
        if shown == 0 && row.span.is_error() {
            line.pad_to(layout.notes);
            line.push("✗", Paint::Error);
        }
        shown
    }

    /// Draws the notes that had no room, and the description of an error, under the name.
    fn draw_below(&mut self, left: &[Note]) {
        let layout = self.layout;
        let message = match &self.row.span.status {
            SpanStatus::Error(message) if !message.is_empty() => {
                Some(Note::new(message, Paint::Error))
            }
            _ => None,
        };
        let below = fit(&self.row.below, layout.name_width.saturating_sub(4));
        let room = layout.width - layout.name - width(&below);
        let mut line = Line::new(self.colour);
        for note in left.iter().chain(&message) {
            let text = fit(&note.text, room);
            if line.width() > 0 && line.width() + 2 + width(&text) > layout.width {
                mem::replace(&mut line, Line::new(self.colour)).end(self.drawing);
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
            line.end(self.drawing);
        }
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
