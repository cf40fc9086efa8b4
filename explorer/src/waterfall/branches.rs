//! The lines of the tree on the left of the names.

/// The pieces that the tree is drawn with. Guides say for each level whether a sibling follows
/// below.
pub(super) struct Branches {
    fork: &'static str,
    last: &'static str,
    stem: &'static str,
    none: &'static str,
}

impl Branches {
    /// The most levels that are drawn. A deeper span starts with `…` and shows the levels nearest
    /// to it.
    const LEVELS: usize = 8;

    /// Narrow terminals get narrow trees, which leaves room for names.
    pub(super) fn of(columns: usize) -> Branches {
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

    /// The piece before the name of a span.
    pub(super) fn branch(&self, guides: &[bool]) -> String {
        match guides {
            [] | [_] => String::new(),
            [_, above @ .., own] => self.stems(above) + if *own { self.fork } else { self.last },
        }
    }

    /// The piece before the notes below a span.
    pub(super) fn below(&self, guides: &[bool], has_children: bool) -> String {
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
