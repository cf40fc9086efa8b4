//! The wine data as a table: eleven measurements, and a class by the quality.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::split::is_validation;
use super::table::{Example, Outcome, Table, Target};
use super::{PARTS, TrainError};
use crate::repository::Lookup;

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

/// Reads the CSV file. Columns are found by name; further columns are ignored.
pub(crate) fn read_wines(path: &Path) -> Result<Table, TrainError> {
    let bytes = std::fs::read(path).map_err(|source| TrainError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    Ok(Table {
        features: FEATURES.map(str::to_owned).to_vec(),
        categories: BTreeMap::new(),
        outcome: Outcome::Classes(CLASSES.map(str::to_owned).to_vec()),
        lookup: Lookup {
            feature_view: "wine_features".to_owned(),
            join_key: "wine_id".to_owned(),
        },
        examples: parse(&bytes)?,
        sha256: hex::encode(Sha256::digest(&bytes)),
    })
}

/// The ids and true labels of the wines that a training with this seed holds out, from the content of
/// the file.
pub fn held_out_wines(
    content: &[u8],
    seed: u64,
) -> Result<Vec<(String, &'static str)>, TrainError> {
    let wines = parse(content)?.into_iter().zip(1..);
    let held_out = wines.filter(|(wine, _)| is_validation(&wine.features, PARTS, seed));
    let labelled = held_out.map(|(wine, row)| {
        let label = CLASSES[usize::from(wine.target.is_class(1))];
        (format!("wine-{row:04}"), label)
    });
    Ok(labelled.collect())
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
        let mut features = Vec::with_capacity(FEATURES.len());
        for column in columns {
            features.push(value(column)?);
        }
        let class = u32::from(value(quality)? >= HIGH_FROM);
        examples.push(Example {
            features,
            target: Target::Class(class),
        });
    }
    Ok(examples)
}
