//! The time axis that the bars share.

use crate::trace::{SpanData, Trace};

/// The time that the width of the bars stands for.
pub(super) struct Axis {
    start: u64,
    duration: u64,
}

impl Axis {
    pub(super) fn of(trace: &Trace) -> Axis {
        Axis {
            start: trace.start(),
            duration: trace.duration().max(1),
        }
    }

    /// A bar in half columns, at least one of them however short the span.
    pub(super) fn bar(&self, span: &SpanData, columns: usize) -> String {
        let halves = columns * 2;
        let from = (self.place(span.start, halves) as usize).min(halves - 1);
        let to = (self.place(span.end, halves).ceil() as usize).clamp(from + 1, halves);
        let covered = from..to;
        let mut bar = String::new();
        for left in (0..to).step_by(2) {
            bar.push(
                match (covered.contains(&left), covered.contains(&(left + 1))) {
                    (true, true) => '━',
                    (true, false) => '╸',
                    (false, true) => '╺',
                    (false, false) => ' ',
                },
            );
        }
        bar
    }

    fn place(&self, time: u64, halves: usize) -> f64 {
        time.saturating_sub(self.start) as f64 / self.duration as f64 * halves as f64
    }
}
