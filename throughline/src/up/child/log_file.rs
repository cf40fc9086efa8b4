//! A log file that is kept over starts and stays bounded: `part.log`, before it `part.1.log` and
//! `part.2.log`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes of one generation.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Generations besides the current one.
const KEPT: u32 = 2;

/// The log file of one child.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    max_bytes: u64,
}

impl LogFile {
    /// Opens an empty file and keeps what an earlier start has written.
    pub(super) fn open(path: PathBuf) -> io::Result<LogFile> {
        LogFile::with_limit(path, MAX_BYTES)
    }

    fn with_limit(path: PathBuf, max_bytes: u64) -> io::Result<LogFile> {
        if fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
            rotate(&path)?;
        }
        let file = File::create(&path)?;
        Ok(LogFile {
            path,
            file,
            bytes: 0,
            max_bytes,
        })
    }

    /// Writes one line. A full disk must not stop the system, so that a failure is ignored.
    pub(super) fn write_line(&mut self, line: &str) {
        let length = line.len() as u64 + 1;
        if self.bytes > 0 && self.bytes + length > self.max_bytes {
            // Without a new generation the current one starts over, so that it stays bounded.
            let _ = rotate(&self.path);
            if let Ok(file) = File::create(&self.path) {
                self.file = file;
                self.bytes = 0;
            }
        }
        if writeln!(self.file, "{line}").is_ok() {
            self.bytes += length;
        }
    }
}

/// Renames each generation to the next; the oldest is overwritten.
fn rotate(path: &Path) -> io::Result<()> {
    for number in (1..KEPT).rev() {
        let older = generation(path, number);
        if older.exists() {
            fs::rename(older, generation(path, number + 1))?;
        }
    }
    fs::rename(path, generation(path, 1))
}

/// `gateway.1.log` of `gateway.log`.
fn generation(path: &Path, number: u32) -> PathBuf {
    path.with_extension(format!("{number}.log"))
}

#[cfg(test)]
mod tests {
    //! Starts and floods.

    use super::{LogFile, generation};
    use std::fs;

    fn text(path: &std::path::Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn an_earlier_start_keeps_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.log");
        for start in 1..=5 {
            LogFile::open(path.clone())
                .unwrap()
                .write_line(&format!("start {start}"));
        }
        assert_eq!(text(&path), "start 5\n");
        assert_eq!(text(&generation(&path, 1)), "start 4\n");
        assert_eq!(text(&generation(&path, 2)), "start 3\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_flood_stays_within_three_generations() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.log");
        let mut log = LogFile::with_limit(path.clone(), 1_000).unwrap();
        for line in 0..10_000 {
            log.write_line(&format!("line {line}"));
        }
        let files = fs::read_dir(folder.path()).unwrap();
        let sizes: Vec<u64> = files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(sizes.len(), 3);
        assert!(sizes.iter().all(|size| *size <= 1_000), "{sizes:?}");
        assert!(text(&path).ends_with("line 9999\n"));
    }
}
