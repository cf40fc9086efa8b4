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
    /// SHA-256 of the file, lower-case hex.
    pub(crate) sha256: String,
}

/// A snippet with a clear rating.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TextExample {
    /// The review that the snippet is part of: its id up to the first `_`.
    pub(crate) review: String,
    pub(crate) text: String,
    pub(crate) class: u32,
}

impl TextData {
    /// Reads the CSV file with the columns `data_id`, `rating` and `text`; further ones are ignored.
    pub(crate) fn read(path: &Path) -> Result<Self, TrainError> {
        let bytes = std::fs::read(path).map_err(|source| TrainError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(Self {
            examples: parse(&bytes)?,
            sha256: hex::encode(Sha256::digest(&bytes)),
        })
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<TextExample>, TrainError> {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().map_err(TrainError::Csv)?;
    let column = |name: &str| {
        let found = header.iter().position(|column| column == name);
        found.ok_or_else(|| TrainError::Column(name.to_owned()))
    };
    let (id, rating, text) = (column("data_id")?, column("rating")?, column("text")?);
    let mut examples = Vec::new();
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
        if value.abs() > NEUTRAL {
            let id = record.get(id).unwrap_or_default();
            examples.push(TextExample {
                review: id.split('_').next().unwrap_or_default().to_owned(),
                text: text.to_owned(),
                class: u32::from(value > 0.0),
            });
        }
    }
    Ok(examples)
}
