//! Why a training fails.

use std::path::PathBuf;

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
    #[error("the data has no column {0}")]
    Column(String),
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
    #[error("the training did not converge: the loss is not a number")]
    Diverged,
    #[error("the version cannot be written")]
    Write(#[source] WriteError),
}

impl TrainError {
    /// The bounded word for `error.type`.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Read { .. } => "data_unreadable",
            Self::Csv(_)
            | Self::Column(_)
            | Self::Value { .. }
            | Self::TooFew { .. }
            | Self::EmptyText { .. }
            | Self::OneClass => "data_invalid",
            Self::Encoder(_) => "encoder_unusable",
            Self::Compute(_) => "compute_error",
            Self::Diverged => "diverged",
            Self::Write(_) => "write_error",
        }
    }
}
