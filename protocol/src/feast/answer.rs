//! An answer as a client reads it. What cannot be read is a value without a status, so that one cell
//! takes no other entities with it.

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Cell, FeatureColumn, OnlineResponse, Status, Text};

/// Body of the answer, borrowed from its bytes.
pub type Answer<'a> = OnlineResponse<Vec<AnswerColumn<'a>>, Vec<Text<'a>>>;

/// A column of [`Answer`].
pub type AnswerColumn<'a> = FeatureColumn<Vec<Cell<'a>>, Vec<Status>, Skipped>;

type RawCells<'a> = Vec<&'a RawValue>;
type RawColumn<'a> = FeatureColumn<RawCells<'a>, RawCells<'a>, RawCells<'a>>;
type RawAnswer<'a> = OnlineResponse<Vec<RawColumn<'a>>, Vec<Text<'a>>>;

/// A list that the reader does not need.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Skipped;

impl<'a> Answer<'a> {
    /// Reads an answer. A value that cannot be read, such as a number beyond FP64, is null; an
    /// unknown status is [`Status::Invalid`].
    pub fn decode(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        // The usual answer has no such cell and is read once. What is skipped in it is not checked
        // to be UTF-8 by the parser.
        let text = std::str::from_utf8(body).ok();
        if let Some(answer) = text.and_then(|text| serde_json::from_str(text).ok()) {
            return Ok(answer);
        }
        let RawAnswer { results, metadata } = serde_json::from_slice(body)?;
        let results = results.into_iter().map(AnswerColumn::from).collect();
        Ok(Self { results, metadata })
    }
}

impl<'a> From<RawColumn<'a>> for AnswerColumn<'a> {
    fn from(raw: RawColumn<'a>) -> Self {
        let values = raw.values.into_iter().map(|cell| read(cell, Cell::Null));
        let statuses = raw
            .statuses
            .into_iter()
            .map(|cell| read(cell, Status::Invalid));
        Self {
            values: values.collect(),
            statuses: statuses.collect(),
            event_timestamps: Skipped,
        }
    }
}

fn read<'a, T: Deserialize<'a>>(cell: &'a RawValue, unreadable: T) -> T {
    serde_json::from_str(cell.get()).unwrap_or(unreadable)
}

impl AnswerColumn<'_> {
    /// The value of a row as a number, if its status is `PRESENT`; "NaN", "Infinity" and
    /// "-Infinity" are numbers.
    pub fn number(&self, row: usize) -> Option<f64> {
        self.present(row)?.number()
    }

    /// The value of a row as a text, if its status is `PRESENT`.
    pub fn text(&self, row: usize) -> Option<&str> {
        self.present(row)?.text()
    }

    fn present(&self, row: usize) -> Option<&Cell<'_>> {
        match self.statuses.get(row)? {
            Status::Present => self.values.get(row),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self)
    }
}

impl<'de> Visitor<'de> for Skipped {
    type Value = Self;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self)
    }
}
