//! Why the rows of a file cannot be stored.

use std::io;
use std::path::PathBuf;

use crate::backend::BackendError;

/// The rows of a file cannot be stored, or not all of them.
#[derive(Debug, thiserror::Error)]
pub enum MaterializeError {
    /// A file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The view is not declared.
    #[error("there is no feature view {0:?}")]
    UnknownView(String),
    /// A column is missing in the header, or is there twice.
    #[error("the file must have exactly one column {column:?}; it has {}", header.join(", "))]
    Column {
        /// The expected name, after mapping.
        column: String,
        /// The names in the file, after mapping.
        header: Vec<String>,
    },
    /// There is nothing to write: an empty file, or nothing but a header. An export has failed.
    #[error("the file has no rows, so nothing was written")]
    Empty,
    /// Reading the file failed.
    #[error("cannot read the file from line {line} on")]
    Read {
        /// The first line of the row that could not be read.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// The file of refused rows cannot be written.
    #[error("cannot write the refused rows to {}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The backend does not answer at the start.
    #[error("cannot begin")]
    Begin(#[source] BackendError),
    /// The backend failed. Earlier rows are stored, and the same command continues after them.
    #[error("cannot store the rows")]
    Store(#[from] BackendError),
}

/// The command failed: before the file is read, or with it.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// The views or the backend.
    #[error(transparent)]
    Open(#[from] crate::Error),
    /// The file or its rows.
    #[error("the file cannot be materialized")]
    Materialize(#[from] MaterializeError),
    /// The runtime.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}
