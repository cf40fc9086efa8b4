//! The columns of the waterfall: names first, bars get the rest, notes grow where there is plenty.

use super::notes::Note;
use super::text::width;

/// A narrower terminal has no readable columns.
const NARROWEST: usize = 60;
/// Bars wider than this give way to notes.
const BAR_IS_PLENTY: usize = 18;
/// The widest duration.
const DURATION: usize = 7;

/// The columns that one row needs.
#[derive(Clone, Copy, Default)]
pub(super) struct RowSize {
    pub service: usize,
    pub name: usize,
    pub notes: usize,
}

/// The first column and the width of each part. Columns count from zero.
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

impl RowSize {
    /// The size that fits both rows.
    fn max(self, other: RowSize) -> RowSize {
        RowSize {
            service: self.service.max(other.service),
            name: self.name.max(other.name),
            notes: self.notes.max(other.notes),
        }
    }
}

impl Layout {
    pub(super) fn new(columns: usize, rows: impl Iterator<Item = RowSize>) -> Layout {
        let columns = columns.max(NARROWEST);
        let widest = rows.fold(RowSize::default(), RowSize::max);
        let service_width = widest.service.clamp(7, (columns / 6).max(8));
        // Two columns after the service, one around the bar, one before the notes.
        let room = columns - service_width - DURATION - 5;
        let notes_width = widest.notes.min(room / 5);
        let name_width = widest.name.clamp(4, (room - notes_width) * 2 / 3);
        let plenty = (room - notes_width - name_width).saturating_sub(BAR_IS_PLENTY);
        let notes_width = widest.notes.min(notes_width + plenty);
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

/// Columns of the notes side by side.
pub(super) fn notes_width(notes: &[Note]) -> usize {
    notes.iter().map(|note| width(&note.text)).sum::<usize>() + notes.len().saturating_sub(1)
}
