//! Foreign names, each stored once, bounded in number and length.

use std::collections::HashMap;
use std::sync::Arc;

/// Different names. A system has a few hundred.
const MAX_NAMES: usize = 4_096;
/// Bytes of one name; the rest is cut.
const MAX_BYTES: usize = 160;
/// New names that are refused before the table is swept again.
const WAIT: usize = 1_024;
/// What stands for a name that had no place.
const OTHER: &str = "(other)";

/// A name in the table; equal names are equal numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name(u16);

/// The table. The first two names are the empty one and the one for all that had no place.
#[derive(Debug)]
pub(crate) struct Names {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, Name>,
    /// New names that are still refused.
    refuse: usize,
}

impl Name {
    /// No name.
    pub(crate) const NONE: Name = Name(0);
    const OTHER: Name = Name(1);

    pub(crate) fn is_none(self) -> bool {
        self == Name::NONE
    }
}

impl Default for Names {
    fn default() -> Names {
        let mut names = Names {
            texts: Vec::new(),
            numbers: HashMap::new(),
            refuse: 0,
        };
        names.add("");
        names.add(OTHER);
        names
    }
}

impl Names {
    pub(crate) fn intern(&mut self, text: &str) -> Name {
        let text = cut(text);
        if let Some(known) = self.numbers.get(text) {
            return *known;
        }
        if self.texts.len() >= MAX_NAMES {
            self.refuse = self.refuse.saturating_sub(1);
            return Name::OTHER;
        }
        self.add(text)
    }

    /// The number of a name that may be unknown.
    pub(crate) fn find(&self, text: &str) -> Option<Name> {
        self.numbers.get(cut(text)).copied()
    }

    pub(crate) fn text(&self, name: Name) -> &str {
        self.texts
            .get(usize::from(name.0))
            .map_or("", |text| &**text)
    }

    /// The text, if there is a name.
    pub(crate) fn some(&self, name: Name) -> Option<String> {
        (!name.is_none()).then(|| self.text(name).to_owned())
    }

    /// Whether a sweep may make room.
    pub(super) fn is_full(&self) -> bool {
        self.texts.len() >= MAX_NAMES && self.refuse == 0
    }

    /// After a sweep that made little room, names are refused for a while instead of sweeping for
    /// each.
    pub(super) fn wait(&mut self) {
        self.refuse = WAIT;
    }

    fn add(&mut self, text: &str) -> Name {
        let name = Name(u16::try_from(self.texts.len()).unwrap_or(1));
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, name);
        name
    }
}

fn cut(text: &str) -> &str {
    if text.len() <= MAX_BYTES {
        return text;
    }
    let end = (0..=MAX_BYTES).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}
