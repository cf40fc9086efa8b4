//! One line of a terminal: coloured text, and its width in columns.

use super::text;

/// The style of a text. Without colours every text is plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Bold,
    Dim,
    Error,
    Warning,
    Link,
    /// One of the terminal's 256 colours.
    Hue(u8),
}

/// Hues that differ on a dark and on a light background; red is for errors only.
const HUES: [u8; 8] = [33, 35, 172, 134, 37, 168, 142, 68];

impl Paint {
    /// The hue of the service with index `at`.
    pub(super) fn hue(at: usize) -> Paint {
        Paint::Hue(HUES[at % HUES.len()])
    }

    fn code(self) -> Option<String> {
        Some(match self {
            Paint::Plain => return None,
            Paint::Bold => "1".to_owned(),
            Paint::Dim => "2".to_owned(),
            Paint::Error => "31".to_owned(),
            Paint::Warning => "33".to_owned(),
            Paint::Link => "36".to_owned(),
            Paint::Hue(hue) => format!("38;5;{hue}"),
        })
    }
}

pub(super) struct Line {
    text: String,
    width: usize,
    colour: bool,
}

impl Line {
    pub(super) fn new(colour: bool) -> Line {
        Line {
            text: String::new(),
            width: 0,
            colour,
        }
    }

    pub(super) fn push(&mut self, text: &str, paint: Paint) {
        self.width += text::width(text);
        let code = paint.code().filter(|_| self.colour && !text.is_empty());
        if let Some(code) = &code {
            self.text.push_str("\x1b[");
            self.text.push_str(code);
            self.text.push('m');
        }
        self.text.push_str(text);
        if code.is_some() {
            self.text.push_str("\x1b[0m");
        }
    }

    /// Fills with spaces up to `column`.
    pub(super) fn pad_to(&mut self, column: usize) {
        let missing = column.saturating_sub(self.width);
        self.text.extend(std::iter::repeat_n(' ', missing));
        self.width += missing;
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Writes the line without trailing spaces.
    pub(super) fn end(self, drawing: &mut String) {
        drawing.push_str(self.text.trim_end());
        drawing.push('\n');
    }
}
