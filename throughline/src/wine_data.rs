//! The wine data set, built in so that the program alone is enough.

use std::fs;
use std::path::Path;

use anyhow::Context;

const CSV: &str = include_str!("../../data/wine_quality/winequality-red.csv");

/// Rows of the data set: `wine-0001` to `wine-1599`.
pub(crate) const ROWS: u32 = 1_599;

/// Writes the data set to `path`, unless it is there already.
pub(crate) fn write_csv(path: &Path) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|present| present == CSV.as_bytes()) {
        return Ok(());
    }
    fs::write(path, CSV).with_context(|| format!("cannot write {}", path.display()))
}
