//! The product reviews as examples: a text and a class.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::training::TrainError;

/// Class 0 and class 1.
pub(crate) const CLASSES: [&str; 2] = ["negative", "positive"];

/// A mean rating (−4 to 4) as near to 0 as this belongs to neither class.
const NEUTRAL: f64 = 0.5;

/// A data set with the hash of its file.
#[derive(Clone, Debug)]
pub(crate) struct TextData {
    pub(crate) examples: Vec<TextExample>,
    /// Snippets that belong to neither class. The confidence is calibrated with them, too.
    pub(crate) neutral: Vec<TextExample>,
    /// SHA-256 of the file, lower-case hex.
    pub(crate) sha256: String,
}

/// A snippet with its rating.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TextExample {
    /// The review that the snippet is part of: its id up to the first `_`.
    pub(crate) review: String,
    pub(crate) text: String,
    /// The class of its side.
    pub(crate) class: u32,
    /// How far it is positive, 0 to 1: 1 or 0 of a clear rating, and of one between the classes its
    /// place between them, so that there is no step where they begin.
    pub(crate) positive: f64,
}

impl TextData {
    /// Reads the CSV file with the columns `data_id`, `rating` and `text`; further ones are ignored.
    pub(crate) fn read(path: &Path) -> Result<Self, TrainError> {
        let bytes = std::fs::read(path).map_err(|source| TrainError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        let (examples, neutral) = parse(&bytes)?;
        Ok(Self {
            examples,
            neutral,
            sha256: hex::encode(Sha256::digest(&bytes)),
        })
    }
}

/// The clear snippets, and the neutral ones.
fn parse(bytes: &[u8]) -> Result<(Vec<TextExample>, Vec<TextExample>), TrainError> {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().map_err(TrainError::Csv)?;
    let column = |name: &str| {
        let found = header.iter().position(|column| column == name);
        found.ok_or_else(|| TrainError::Column(name.to_owned()))
    };
    let (id, rating, text) = (column("data_id")?, column("rating")?, column("text")?);
    let (mut clear, mut neutral) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(TrainError::Csv)?;
        // A text may have several lines.
        let line = record
            .position()
            .map_or(0, |position| position.line() as usize);
        let value = record
            .get(rating)
            .and_then(|rating| rating.parse::<f64>().ok())
            .filter(|rating| rating.is_finite())
            .ok_or(TrainError::Value { line })?;
        let text = record.get(text).filter(|text| !text.trim().is_empty());
        let text = text.ok_or(TrainError::EmptyText { line })?;
        let id = record.get(id).unwrap_or_default();
        let example = TextExample {
            review: id.split('_').next().unwrap_or_default().to_owned(),
            text: text.to_owned(),
            class: u32::from(value > 0.0),
            positive: (0.5 + value / (2.0 * NEUTRAL)).clamp(0.0, 1.0),
        };
        if value.abs() > NEUTRAL {
            clear.push(example);
        } else {
            neutral.push(example);
        }
    }
    Ok((clear, neutral))
}
