//! Which column starts where: names come first, bars take what is left, notes grow where there is plenty.

use super::text::width;
use super::{Note, Row};

/// Below this no column would be readable.
const NARROWEST: usize = 60;
/// Bars wider than this give way to notes.
const BAR_IS_PLENTY: usize = 18;
/// The widest duration.
const DURATION: usize = 7;

/// Columns count from zero.
pub(super) struct Layout {
    pub width: usize,
    pub service_width: usize,
    pub name: usize,
    pub name_width: usize,
    pub bar: usize,
    pub bar_width: usize,
    pub notes: usize,
    notes_width: usize,
}

impl Layout {
    pub(super) fn new(columns: usize, rows: &[Row<'_>]) -> Layout {
        let columns = columns.max(NARROWEST);
        let widest = |measure: &dyn Fn(&Row<'_>) -> usize| {
            rows.iter().map(measure).max().unwrap_or_default()
        };
        let service_width = widest(&|row| width(&row.service)).clamp(7, (columns / 6).max(8));
        // Two columns after the service, one around the bar, one before the notes.
        let room = columns - service_width - DURATION - 5;
        let notes_needed = widest(&|row| notes_width(&row.notes));
        let notes_width = notes_needed.min(room / 5);
        let name_needed = widest(&|row| width(&row.branch) + width(&row.name));
        let name_width = name_needed.clamp(4, (room - notes_width) * 2 / 3);
        let plenty = (room - notes_width - name_width).saturating_sub(BAR_IS_PLENTY);
        let notes_width = notes_needed.min(notes_width + plenty);
        let bar_width = room - notes_width - name_width;
        let name = service_width + 2;
        let bar = name + name_width + 1;
        let notes = bar + bar_width + 1 + DURATION + 1;
        Layout {
            width: columns,
            service_width,
            name,
            name_width,
            bar,
            bar_width,
            notes,
            notes_width,
        }
    }

    /// How many of the notes have room beside the duration, from the first.
    pub(super) fn notes_that_fit(&self, notes: &[Note]) -> usize {
        (0..=notes.len())
            .rev()
            .find(|count| notes_width(&notes[..*count]) <= self.notes_width)
            .unwrap_or_default()
    }
}

fn notes_width(notes: &[Note]) -> usize {
    notes.iter().map(|note| width(&note.text)).sum::<usize>() + notes.len().saturating_sub(1)
}
