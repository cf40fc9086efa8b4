//! Tables as examples: features that are numbers or categories, and a class or a number to predict.

mod columns;
mod faults;
mod read;

use std::collections::BTreeMap;

pub use columns::feature_name;
pub use faults::{BadRow, IgnoredColumn};
pub(crate) use read::read;

use crate::encoding::Encoding;
use crate::repository::Lookup;

/// Which columns of a CSV file mean what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableOptions {
    /// The column that identifies a row.
    pub id: String,
    /// The column to predict.
    pub target: String,
    /// Whether the target is a number, and not a class.
    pub regression: bool,
    /// Columns that are categories, even if they hold numbers.
    pub categories: Vec<String>,
    /// Whether to train without rows that cannot be used, instead of not at all.
    pub skip_bad_rows: bool,
    /// Passes over the training part, if not the default for the number of rows.
    pub epochs: Option<usize>,
}

/// What was found in a table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSummary {
    /// Rows that can be used.
    pub rows: usize,
    /// The columns of the file that are features, in the order of the model.
    pub features: Vec<TableFeature>,
    /// The columns that cannot be used.
    pub ignored: Vec<IgnoredColumn>,
    /// The rows that are left out.
    pub skipped: Vec<BadRow>,
    /// The column that identifies a row.
    pub id: String,
    /// Where the features are to be found.
    pub lookup: Lookup,
}

/// A column that is a feature.
#[derive(Clone, Debug, PartialEq)]
pub struct TableFeature {
    /// Its name in the file.
    pub column: String,
    /// Its name in the feature store and in the manifest.
    pub name: String,
    /// Whether its values are texts.
    pub is_category: bool,
}

/// The examples of a data set.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) features: Vec<String>,
    /// By feature, its texts.
    pub(crate) categories: BTreeMap<String, Vec<String>>,
    pub(crate) outcome: Outcome,
    pub(crate) lookup: Lookup,
    pub(crate) examples: Vec<Example>,
    /// SHA-256 of the file, lower-case hex.
    pub(crate) sha256: String,
}

/// What a model of the table predicts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Classes(Vec<String>),
    /// The number in a column.
    Number(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Example {
    /// A category is the position of its text.
    pub(crate) features: Vec<f32>,
    pub(crate) target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    Class(u32),
    Number(f32),
}

impl Table {
    pub(crate) fn encoding(&self) -> Encoding {
        Encoding::of(&self.features, &self.categories)
    }

    pub(crate) fn classes(&self) -> &[String] {
        match &self.outcome {
            Outcome::Classes(classes) => classes,
            Outcome::Number(_) => &[],
        }
    }
}

impl Target {
    /// The class; 0 of a number, which has none.
    pub(crate) fn class(self) -> u32 {
        match self {
            Self::Class(class) => class,
            Self::Number(_) => 0,
        }
    }

    pub(crate) fn is_class(self, class: u32) -> bool {
        self == Self::Class(class)
    }

    /// The number, or that of the class.
    pub(crate) fn number(self) -> f32 {
        match self {
            Self::Class(class) => class as f32,
            Self::Number(number) => number,
        }
    }
}

#[cfg(test)]
mod tests;
