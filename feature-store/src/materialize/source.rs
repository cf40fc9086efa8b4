//! The file of rows, and where to continue in it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mark::{self, Mark, Prefix};
use super::rows::{self, Resume, RowReader};
use super::{MaterializeError, ReadOptions};
use crate::backend::FeatureBackend;
use crate::views::FeatureView;

/// A file, or standard input. Only a regular file can be continued after an interruption.
pub(super) struct Source {
    path: PathBuf,
    file: Option<File>,
    /// Of a regular file.
    pub(super) size: Option<u64>,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, MaterializeError> {
        if path == Path::new("-") {
            return Ok(Self {
                path: path.to_owned(),
                file: None,
                size: None,
            });
        }
        let failed = |source| MaterializeError::Open {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let kind = file.metadata().map_err(failed)?;
        if kind.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        // A pipe has no size and cannot be read again.
        Ok(Self {
            path: path.to_owned(),
            size: kind.is_file().then_some(kind.len()),
            file: Some(file),
        })
    }

    /// The name of the mark of this file with these options; `None` if the source cannot be
    /// continued.
    pub(super) fn mark_name(
        &self,
        view: &FeatureView,
        options: &ReadOptions,
    ) -> Result<Option<String>, MaterializeError> {
        let Some(mut file) = self.reopen()? else {
            return Ok(None);
        };
        mark::name(&mut file, view, options)
            .map(Some)
            .map_err(|source| MaterializeError::Read { line: 1, source })
    }

    /// The mark of an earlier run, if the file still begins with what that run has stored.
    pub(super) async fn find_mark(
        &self,
        backend: &dyn FeatureBackend,
        name: &str,
    ) -> Result<Option<Mark>, MaterializeError> {
        let Some(text) = backend.mark(name).await? else {
            return Ok(None);
        };
        // A mark of another version of the program is ignored.
        let Ok(mark) = serde_json::from_str::<Mark>(&text) else {
            return Ok(None);
        };
        let Some(file) = self.reopen()? else {
            return Ok(None);
        };
        if self.size.is_none_or(|size| size < mark.offset) {
            return Ok(None);
        }
        let digest = Prefix::new(file)
            .digest(mark.offset)
            .map_err(|source| MaterializeError::Read { line: 1, source })?;
        Ok((digest == mark.digest).then_some(mark))
    }

    /// Reads the rows from the mark on, or from the beginning.
    pub(super) fn rows(
        &self,
        view: &Arc<FeatureView>,
        options: &ReadOptions,
        mark: Option<&Mark>,
    ) -> Result<RowReader, MaterializeError> {
        let Some(mut file) = self.reopen()? else {
            let text: Box<dyn Read + Send> = match &self.file {
                Some(pipe) => Box::new(pipe.try_clone().map_err(|source| self.failed(source))?),
                None => Box::new(io::stdin()),
            };
            return RowReader::new(view, text, None, options, None);
        };
        let prefix = self.reopen()?.map(Prefix::new);
        let (Some(mark), Some(beginning)) = (mark, self.reopen()?) else {
            return RowReader::new(view, Box::new(file), prefix, options, None);
        };
        let names = rows::header_of(options.format, beginning);
        let names = names.map_err(|source| MaterializeError::Read { line: 1, source })?;
        file.seek(SeekFrom::Start(mark.offset))
            .map_err(|source| self.failed(source))?;
        let start = Resume {
            names,
            offset: mark.offset,
            line: mark.line,
        };
        RowReader::new(view, Box::new(file), prefix, options, Some(start))
    }

    /// Opens a regular file once more, at its beginning.
    fn reopen(&self) -> Result<Option<File>, MaterializeError> {
        self.size
            .map(|_| File::open(&self.path))
            .transpose()
            .map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> MaterializeError {
        MaterializeError::Open {
            path: self.path.clone(),
            source,
        }
    }
}
