//! Where an interrupted run goes on.
//!
//! The mark is kept by the engine that has the rows: it is there for a process on another machine, and it is gone when the rows
//! are. It belongs to a beginning of a file and is believed only if that is still the same to the byte, so a file may have grown.
//! It never stands after a row that is not stored.

use std::fs::File;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Input, MaterializeError, ReadOptions};
use crate::backend::FeatureBackend;
use crate::views::FeatureView;

/// How far a run came, as JSON in the store.
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

/// The SHA-256 of a growing part of a file.
pub(super) struct Prefix {
    file: File,
    hash: Sha256,
    length: u64,
}

/// Bytes at the beginning of a file by which it is told from others.
const FINGERPRINT: u64 = 64 * 1024;

/// The name of the mark for a file of this beginning that is read into this view in this way.
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

/// The mark of an earlier run, if the file still begins with what that run has stored.
pub(super) async fn find(
    backend: &dyn FeatureBackend,
    name: &str,
    input: &Input,
) -> Result<Option<Mark>, MaterializeError> {
    let Some(text) = backend.mark(name).await? else {
        return Ok(None);
    };
    // One of another version is as good as none.
    let Ok(mark) = serde_json::from_str::<Mark>(&text) else {
        return Ok(None);
    };
    let Some(file) = input.again()? else {
        return Ok(None);
    };
    if input.size.is_none_or(|size| size < mark.offset) {
        return Ok(None);
    }
    let digest = Prefix::new(file)
        .digest(mark.offset)
        .map_err(|source| MaterializeError::Read { line: 1, source })?;
    Ok((digest == mark.digest).then_some(mark))
}

impl Prefix {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            hash: Sha256::new(),
            length: 0,
        }
    }

    /// The digest of the first `length` bytes, which must not become less from call to call.
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
