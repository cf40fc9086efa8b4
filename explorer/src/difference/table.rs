//! What was seen of each attribute on both sides, in bounded memory.

use std::collections::HashMap;

use super::Class;
use crate::span_view::ValueView;

/// Categories of an attribute; one with more is an identifier and is left out.
pub(super) const MAX_VALUES: usize = 50;
/// Attributes; those of a hostile trace do not fill the memory.
const MAX_DIMENSIONS: usize = 2_000;
/// Bytes of a value that is compared.
const MAX_TEXT: usize = 200;

/// Which side a trace is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Selected,
    Rest,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub dimensions: Vec<Dimension>,
    /// By origin, then by name.
    index: HashMap<String, HashMap<String, usize>>,
    /// Traces on each side.
    pub selected: usize,
    pub rest: usize,
    /// Traces on each side whose paths were computed.
    pub paths: [usize; 2],
}

/// One attribute of one origin.
#[derive(Debug)]
pub(super) struct Dimension {
    pub class: Class,
    pub origin: String,
    pub name: String,
    pub categories: HashMap<String, [usize; 2]>,
    /// Whether there were more than [`MAX_VALUES`] categories.
    pub too_many: bool,
    pub numbers: [Vec<f64>; 2],
    /// What a trace without the attribute has, if that is a number.
    pub absent: Option<f64>,
}

/// The values of one trace.
#[derive(Debug, Default)]
pub(super) struct Row {
    numbers: Vec<(usize, f64)>,
    texts: Vec<(usize, String)>,
}

impl Table {
    /// The number of a dimension; `None` if there are too many already.
    pub(super) fn dimension(&mut self, class: Class, origin: &str, name: &str) -> Option<usize> {
        if let Some(at) = self.index.get(origin).and_then(|names| names.get(name)) {
            return Some(*at);
        }
        if self.dimensions.len() >= MAX_DIMENSIONS {
            return None;
        }
        let at = self.dimensions.len();
        let names = self.index.entry(origin.to_owned()).or_default();
        names.insert(name.to_owned(), at);
        self.dimensions.push(Dimension {
            class,
            origin: cut(origin).to_owned(),
            name: cut(name).to_owned(),
            categories: HashMap::new(),
            too_many: false,
            numbers: [Vec::new(), Vec::new()],
            absent: None,
        });
        Some(at)
    }

    /// Counts a trace.
    pub(super) fn add(&mut self, row: &mut Row, side: Side) {
        match side {
            Side::Selected => self.selected += 1,
            Side::Rest => self.rest += 1,
        }
        self.add_values(row, side);
    }

    /// Counts values of a trace that is counted already.
    pub(super) fn add_values(&mut self, row: &mut Row, side: Side) {
        // Of several numbers the largest stands for the trace.
        row.numbers
            .sort_unstable_by(|(a, x), (b, y)| a.cmp(b).then(y.total_cmp(x)));
        row.numbers.dedup_by_key(|(at, _)| *at);
        for (at, number) in row.numbers.drain(..) {
            self.dimensions[at].numbers[side as usize].push(number);
        }
        // Several texts are one category: the set of them.
        row.texts.sort_unstable();
        row.texts.dedup();
        let mut texts = std::mem::take(&mut row.texts);
        for same in texts.chunk_by_mut(|(a, _), (b, _)| a == b) {
            let at = same[0].0;
            if let [(_, text)] = same {
                self.dimensions[at].count(text, side);
            } else {
                let all: Vec<&str> = same.iter().map(|(_, text)| text.as_str()).collect();
                self.dimensions[at].count(cut(&all.join(", ")), side);
            }
        }
        texts.clear();
        row.texts = texts;
    }
}

impl Dimension {
    fn count(&mut self, text: &str, side: Side) {
        if let Some(counts) = self.categories.get_mut(text) {
            counts[side as usize] += 1;
        } else if self.categories.len() >= MAX_VALUES {
            self.too_many = true;
        } else {
            let mut counts = [0, 0];
            counts[side as usize] = 1;
            self.categories.insert(text.to_owned(), counts);
        }
    }
}

impl Row {
    pub(super) fn number(&mut self, at: usize, number: f64) {
        self.numbers.push((at, number));
    }

    pub(super) fn text(&mut self, at: usize, text: &str) {
        self.texts.push((at, cut(text).to_owned()));
    }

    pub(super) fn value(&mut self, at: usize, value: &ValueView<'_>) {
        match value.number() {
            Some(number) => self.number(at, number),
            None => self.text(at, &value.text()),
        }
    }
}

/// The beginning of a text.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}
