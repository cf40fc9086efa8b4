//! The data sets, built in so that the program alone is enough.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::Context;

/// A data set for one model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataSet {
    pub(crate) model: &'static str,
    file: &'static str,
    pub(crate) content: &'static str,
}

pub(crate) const WINE_QUALITY: DataSet = DataSet {
    model: "wine_quality",
    file: "winequality-red.csv",
    content: include_str!("../../data/wine_quality/winequality-red.csv"),
};
pub(crate) const TEXT_SENTIMENT: DataSet = DataSet {
    model: "text_sentiment",
    file: "product-reviews.csv",
    content: include_str!("../../data/product_reviews/reviews.csv"),
};

/// The features of the wines in the order of the file, as of the view `wine_features`.
pub(crate) const WINE_FEATURES: [&str; 11] = [
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

/// Rows of the wines: `wine-0001` to `wine-1599`.
pub(crate) const WINES: u32 = 1_599;

/// The line of a wine, from 1, as in the file.
pub(crate) fn wine(number: u32) -> &'static str {
    static LINES: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| WINE_QUALITY.content.lines().collect());
    LINES.get(number as usize).copied().unwrap_or_default()
}

impl DataSet {
    /// Writes the data set into `folder`, unless it is there already.
    pub(crate) fn write_into(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let path = folder.join(self.file);
        if !fs::read(&path).is_ok_and(|present| present == self.content.as_bytes()) {
            fs::write(&path, self.content)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(path)
    }
}
