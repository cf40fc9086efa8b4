//! Where an interrupted run continues.
//!
//! The backend stores the mark beside the rows: a process on another machine finds it, and it is
//! lost together with the rows. A mark is valid only if the bytes of the file before it are
//! unchanged; more may have been appended. Every row before it is stored or refused.

use std::fs::File;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ReadOptions;
use crate::views::FeatureView;

/// How far a run has come; the backend stores it as JSON.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Mark {
    /// Bytes whose rows are stored or refused.
    pub(super) offset: u64,
    /// The line after them.
    pub(super) line: u64,
    /// SHA-256 of the bytes.
    pub(super) digest: String,
    /// Event time of rows without one of their own, in microseconds.
    pub(super) event_time: i64,
    pub(super) written: u64,
    pub(super) outdated: u64,
    pub(super) refused: u64,
}

/// The SHA-256 of a growing prefix of a file.
pub(super) struct Prefix {
    file: File,
    hash: Sha256,
    length: u64,
}

/// Bytes at the beginning of a file that identify it.
const FINGERPRINT: u64 = 64 * 1024;

/// The name of the mark of this file, read into this view with these options.
pub(super) fn name(
    file: &mut impl Read,
    view: &FeatureView,
    options: &ReadOptions,
) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut start = Vec::new();
    file.take(FINGERPRINT).read_to_end(&mut start)?;
    hash.update(&start);
    hash.update(format!(
        "{} {:?} {:?}",
        view.name, options.format, options.map
    ));
    Ok(format!(
        "{}:{}",
        view.name,
        &hex::encode(hash.finalize())[..32]
    ))
}

impl Prefix {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            hash: Sha256::new(),
            length: 0,
        }
    }

    /// The digest of the first `length` bytes. `length` must not decrease from call to call.
    pub(super) fn digest(&mut self, length: u64) -> io::Result<String> {
        let mut piece = (&mut self.file).take(length.saturating_sub(self.length));
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match piece.read(&mut buffer)? {
                0 => break,
                read => self.hash.update(&buffer[..read]),
            }
        }
        self.length = length;
        Ok(hex::encode(self.hash.clone().finalize()))
    }
}
