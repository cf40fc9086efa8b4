//! Files that are followed while the process runs: routes, API keys, certificates.
//!
//! The content is compared, not the time: a container platform swaps a file by a link, and the new
//! content may have an old time.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A larger file is no configuration.
const MAX_BYTES: u64 = 1 << 20;

/// One or more files that count together, such as a certificate and its key.
pub struct WatchedFiles {
    paths: Vec<PathBuf>,
    /// What was read last, or why nothing was.
    seen: Result<Vec<Vec<u8>>, io::ErrorKind>,
}

/// A file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl WatchedFiles {
    /// Reads the files for the first time. Their contents are in the order of `paths`.
    pub async fn open(paths: Vec<PathBuf>) -> Result<(Self, Vec<Vec<u8>>), FileError> {
        let contents = read(&paths).await?;
        let seen = Ok(contents.clone());
        Ok((Self { paths, seen }, contents))
    }

    /// Waits for the next change and returns the new contents, or the error when a file cannot be
    /// read any longer. Each error is returned once, and after it any content is a change.
    pub async fn changed(&mut self, every: Duration) -> Result<Vec<Vec<u8>>, FileError> {
        loop {
            tokio::time::sleep(every).await;
            let read_now = read(&self.paths).await;
            if kind(&read_now) == self.seen.as_ref().map_err(|kind| *kind) {
                continue;
            }
            if let Ok(contents) = &read_now {
                // They may be half written: they count when they are still the same a moment later.
                tokio::time::sleep(every / 10).await;
                if !read(&self.paths)
                    .await
                    .is_ok_and(|again| again == *contents)
                {
                    continue;
                }
            }
            self.seen = kind(&read_now).cloned();
            return read_now;
        }
    }
}

fn kind(read: &Result<Vec<Vec<u8>>, FileError>) -> Result<&Vec<Vec<u8>>, io::ErrorKind> {
    read.as_ref().map_err(|error| error.source.kind())
}

async fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, FileError> {
    let paths = paths.to_vec();
    telemetry::task::spawn_blocking(move || paths.iter().map(|path| read_bounded(path)).collect())
        .await
        .unwrap_or_else(|_| {
            Err(FileError {
                path: PathBuf::new(),
                source: io::Error::other("the process is stopping"),
            })
        })
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, FileError> {
    let read = || {
        let mut content = Vec::new();
        let mut file = std::fs::File::open(path)?.take(MAX_BYTES + 1);
        file.read_to_end(&mut content)?;
        if content.len() as u64 > MAX_BYTES {
            return Err(io::Error::other("it is larger than 1 MiB"));
        }
        Ok(content)
    };
    read().map_err(|source| FileError {
        path: path.to_owned(),
        source,
    })
}
