//! Reads a file into batches of rows, in constant memory.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use super::columns::{CsvColumns, JsonColumns, ParsedRow};
use super::format::Format;
use super::mark::Prefix;
use super::records::{CsvRecords, JsonLines};
use super::{MaterializeError, ReadOptions, RefusedRow};
use crate::backend::{EntityKey, Row};
use crate::time::EventTime;
use crate::views::FeatureView;

/// How far the file has been read: all rows before are in batches.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Place {
    /// Bytes.
    pub(super) offset: u64,
    /// The line that comes next, from 1.
    pub(super) line: u64,
    /// SHA-256 of the bytes, for a file that can be continued.
    pub(super) digest: Option<String>,
}

/// Where an earlier run has stopped.
pub(super) struct Resume {
    /// The column names, from the beginning of the file.
    pub(super) names: Vec<String>,
    pub(super) offset: u64,
    pub(super) line: u64,
}

/// Some rows for one call of the backend.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: Vec<(EntityKey, Row)>,
    pub(super) refused: Vec<RefusedRow>,
    /// Where the batch ends.
    pub(super) place: Place,
}

/// Reads the rows of a file for one view.
pub(super) struct RowReader {
    records: Records,
    prefix: Option<Prefix>,
    view: Arc<FeatureView>,
    event_time: EventTime,
}

enum Records {
    Csv(CsvRecords, CsvColumns),
    Ndjson(JsonLines, JsonColumns),
}

/// Rows per call of the backend: large enough that a commit costs little, small enough not to delay
/// other writers.
const BATCH: usize = 500;

impl RowReader {
    /// `text` begins at `resume`, or at the beginning of the file.
    pub(super) fn new(
        view: &Arc<FeatureView>,
        text: Box<dyn Read + Send>,
        mut prefix: Option<Prefix>,
        options: &ReadOptions,
        resume: Option<Resume>,
    ) -> Result<Self, MaterializeError> {
        let (offset, line) = resume
            .as_ref()
            .map_or((0, 1), |resume| (resume.offset, resume.line));
        let failed = |line, source| MaterializeError::Read { line, source };
        if let Some(prefix) = &mut prefix {
            prefix.digest(offset).map_err(|source| failed(1, source))?;
        }
        let records = match options.format {
            Format::Csv => {
                let mut csv = CsvRecords::new(text, offset, line);
                let names = match resume {
                    Some(resume) => resume.names,
                    None => csv.header().map_err(|source| failed(1, source))?,
                };
                if names.is_empty() {
                    return Err(MaterializeError::Empty);
                }
                Records::Csv(csv, CsvColumns::new(view, &names, options)?)
            }
            Format::Ndjson => {
                let lines = JsonLines::new(text, offset, line);
                Records::Ndjson(lines, JsonColumns::new(view, options))
            }
        };
        Ok(Self {
            records,
            prefix,
            view: Arc::clone(view),
            event_time: options.event_time,
        })
    }

    /// The next batch; `None` at the end of the file.
    pub(super) fn batch(&mut self) -> Result<Option<Batch>, MaterializeError> {
        let (mut rows, mut refused) = (Vec::with_capacity(BATCH), Vec::new());
        while rows.len() + refused.len() < BATCH {
            match self.next() {
                Ok(Some((_, Ok(row)))) => rows.push(row),
                Ok(Some((line, Err(reason)))) => refused.push(RefusedRow { line, reason }),
                Ok(None) => break,
                // The rows that were read are written first; the next call returns the error.
                Err(_) if rows.len() + refused.len() > 0 => break,
                Err(source) => {
                    return Err(MaterializeError::Read {
                        line: self.place().line,
                        source,
                    });
                }
            }
        }
        if rows.is_empty() && refused.is_empty() {
            return Ok(None);
        }
        let mut place = self.place();
        if let Some(prefix) = &mut self.prefix {
            let digest = prefix.digest(place.offset);
            place.digest = Some(digest.map_err(|source| MaterializeError::Read {
                line: place.line,
                source,
            })?);
        }
        Ok(Some(Batch {
            rows,
            refused,
            place,
        }))
    }

    fn next(&mut self) -> io::Result<Option<(u64, ParsedRow)>> {
        Ok(match &mut self.records {
            Records::Csv(csv, header) => csv
                .next()?
                .map(|(line, fields)| (line, header.row(&self.view, &fields, self.event_time))),
            Records::Ndjson(lines, names) => lines.next()?.map(|(line, text)| {
                (
                    line,
                    text.and_then(|text| names.row(&self.view, &text, self.event_time)),
                )
            }),
        })
    }

    fn place(&self) -> Place {
        let (offset, line) = match &self.records {
            Records::Csv(csv, _) => csv.position(),
            Records::Ndjson(lines, _) => (lines.offset, lines.line),
        };
        Place {
            offset,
            line,
            digest: None,
        }
    }
}

/// The column names of a file, for a run that continues further down; a file of JSON lines has
/// none.
pub(super) fn header_of(format: Format, file: File) -> io::Result<Vec<String>> {
    match format {
        Format::Csv => CsvRecords::new(Box::new(file), 0, 1).header(),
        Format::Ndjson => Ok(Vec::new()),
    }
}
