//! The wine data as examples: eleven measurements and a class.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::TrainError;

/// The measurements in the order of the model's inputs; the columns of the file and the features of
/// the feature store have the same names.
pub const FEATURES: [&str; 11] = [
    "fixed_acidity",
    "volatile_acidity",
    "citric_acid",
    "residual_sugar",
    "chlorides",
    "free_sulfur_dioxide",
    "total_sulfur_dioxide",
    "density",
    "ph",
    "sulphates",
    "alcohol",
];

/// Class 0 and class 1.
pub const CLASSES: [&str; 2] = ["low", "high"];

/// The lowest quality (0 to 10) that counts as high.
const HIGH_FROM: f32 = 6.0;

/// A data set with the hash of its file.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) examples: Vec<Example>,
    /// SHA-256 of the file, lower-case hex.
    pub(crate) sha256: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Example {
    pub(crate) features: [f32; FEATURES.len()],
    pub(crate) class: u32,
}

impl Data {
    /// Reads the CSV file. Columns are found by name; further columns are ignored.
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

fn parse(bytes: &[u8]) -> Result<Vec<Example>, TrainError> {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().map_err(TrainError::Csv)?;
    let column = |name: &str| {
        let found = header.iter().position(|column| column == name);
        found.ok_or_else(|| TrainError::Column(name.to_owned()))
    };
    let mut columns = [0; FEATURES.len()];
    for (index, name) in columns.iter_mut().zip(FEATURES) {
        *index = column(name)?;
    }
    let quality = column("quality")?;
    let mut examples = Vec::new();
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(TrainError::Csv)?;
        let value = |column: usize| {
            record
                .get(column)
                .and_then(|text| text.parse::<f32>().ok())
                .filter(|value| value.is_finite())
                .ok_or(TrainError::Value { line: row + 2 })
        };
        let mut features = [0.0; FEATURES.len()];
        for (feature, column) in features.iter_mut().zip(columns) {
            *feature = value(column)?;
        }
        let class = u32::from(value(quality)? >= HIGH_FROM);
        examples.push(Example { features, class });
    }
    Ok(examples)
}
