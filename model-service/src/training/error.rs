//! Why a training fails.

use std::fmt::Write;
use std::path::PathBuf;

use super::table::{BadRow, IgnoredColumn};
use crate::embedder::FolderError;
use crate::model::ComputeError;
use crate::repository::WriteError;

/// Why there is no new version.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the data is not valid CSV")]
    Csv(#[source] csv::Error),
    #[error("the file is empty: 0 bytes")]
    Empty,
    #[error("the file has a header and no rows")]
    NoRows,
    #[error("the data has no column {0}")]
    Column(String),
    #[error(
        "the data has no column {column}; its header says: {has} (columns are separated by commas)"
    )]
    NoColumn { column: String, has: String },
    #[error("the header has the column {0} twice")]
    DuplicateColumn(String),
    #[error("{0} cannot be both the id and the target")]
    IdIsTarget(String),
    #[error(
        "the columns {first} and {second} would both be the feature {name}; rename one of them"
    )]
    SameName {
        first: String,
        second: String,
        name: String,
    },
    #[error("no column can be a feature{}", columns(.0))]
    NoFeatures(Vec<IgnoredColumn>),
    #[error(
        "{} rows cannot be used; repair them, or leave them out with --skip-bad-rows{}",
        .0.len(),
        rows(.0)
    )]
    BadRows(Vec<BadRow>),
    #[error("{} rows repeat the id of another row{}", .0.len(), rows(.0))]
    DuplicateIds(Vec<BadRow>),
    #[error(
        "the column {column} has {classes} different values, and {most} classes are the most; is it a number (--regression)?"
    )]
    TooManyClasses {
        column: String,
        classes: usize,
        most: usize,
    },
    #[error(
        "the class {class} has no row in the training part; give it more rows or leave its rows out"
    )]
    RareClass { class: String },
    #[error("the column {0} is the same number in every row; there is nothing to predict")]
    ConstantTarget(String),
    #[error("line {line} of the data holds a value that is not a number")]
    Value { line: usize },
    #[error("{rows} rows are too few for a training part and a validation part")]
    TooFew { rows: usize },
    #[error("line {line} of the data holds no text")]
    EmptyText { line: usize },
    #[error("the rows of the training part belong to one class; a model needs both")]
    OneClass,
    #[error("the encoder cannot be used")]
    Encoder(#[source] FolderError),
    #[error("the network cannot be trained")]
    Compute(#[source] ComputeError),
    #[error(transparent)]
    Ranks(RanksError),
    #[error("the training did not converge: the loss is not a number")]
    Diverged,
    #[error("the features cannot be loaded")]
    Features(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the version cannot be written")]
    Write(#[source] WriteError),
}

/// Lines of a message; the others are counted.
const SHOWN: usize = 20;

impl TrainError {
    /// The bounded word for `error.type`.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Read { .. } => "data_unreadable",
            Self::Csv(_)
            | Self::Empty
            | Self::NoRows
            | Self::Column(_)
            | Self::NoColumn { .. }
            | Self::DuplicateColumn(_)
            | Self::IdIsTarget(_)
            | Self::SameName { .. }
            | Self::NoFeatures(_)
            | Self::BadRows(_)
            | Self::DuplicateIds(_)
            | Self::TooManyClasses { .. }
            | Self::RareClass { .. }
            | Self::ConstantTarget(_)
            | Self::Value { .. }
            | Self::TooFew { .. }
            | Self::EmptyText { .. }
            | Self::OneClass => "data_invalid",
            Self::Encoder(_) => "encoder_unusable",
            Self::Compute(_) => "compute_error",
            Self::Ranks(error) => error.error_type(),
            Self::Diverged => "diverged",
            Self::Features(_) => "feature_store_error",
            Self::Write(_) => "write_error",
        }
    }
}

/// Why a group of ranks brought no weights.
#[derive(Debug, thiserror::Error)]
pub enum RanksError {
    /// One rank failed, and therefore all.
    #[error("rank {rank} of {ranks} {how}")]
    Rank {
        rank: usize,
        ranks: usize,
        how: String,
    },
    /// A rank stands still.
    #[error("rank {rank} of {ranks} {how}")]
    Stalled {
        rank: usize,
        ranks: usize,
        how: String,
    },
    #[error("the ranks cannot be run")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RanksError {
    /// The rank with which it began.
    pub fn rank(&self) -> Option<usize> {
        match self {
            Self::Rank { rank, .. } | Self::Stalled { rank, .. } => Some(*rank),
            Self::Start(_) => None,
        }
    }

    /// The bounded word for `error.type`.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Rank { .. } => "rank_failed",
            Self::Stalled { .. } => "rank_stalled",
            Self::Start(..) => "ranks_unstartable",
        }
    }
}

fn rows(rows: &[BadRow]) -> String {
    let mut text = String::new();
    for row in rows.iter().take(SHOWN) {
        // Writing into a String cannot fail.
        let _ = write!(text, "\n  line {}: {}", row.line, row.reason);
    }
    if rows.len() > SHOWN {
        let _ = write!(text, "\n  and {} more", rows.len() - SHOWN);
    }
    text
}

fn columns(columns: &[IgnoredColumn]) -> String {
    let mut text = String::new();
    for ignored in columns {
        let _ = write!(text, "\n  column {} {}", ignored.column, ignored.reason);
    }
    text
}
