//! What of a table cannot be used.

/// A row that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Where it begins in the file, from 1.
    pub line: u64,
    pub reason: String,
}

/// A column that cannot be a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredColumn {
    pub column: String,
    /// The rest of a sentence whose subject is the column.
    pub reason: String,
}
