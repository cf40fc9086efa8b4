//! Reading a file line by line, in constant memory.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::columns::{Header, Names, Outcome};
use super::mark::Prefix;
use super::{MaterializeError, ReadOptions, RefusedRow};
use crate::backend::{EntityKey, Row};
use crate::time::EventTime;
use crate::views::FeatureView;

/// How rows are written as text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    #[value(alias = "jsonl")]
    Ndjson,
}

/// Where reading has come to: everything before is in batches.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Place {
    /// Bytes.
    pub(super) offset: u64,
    /// The line that comes next, from 1.
    pub(super) line: u64,
    /// SHA-256 of the bytes, for a file that can be gone on with.
    pub(super) digest: Option<String>,
}

/// Where an earlier run had come to.
pub(super) struct Start {
    /// The column names, which stand far before.
    pub(super) names: Vec<String>,
    pub(super) offset: u64,
    pub(super) line: u64,
}

/// Some rows for one call of the engine.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: Vec<(EntityKey, Row)>,
    pub(super) refused: Vec<RefusedRow>,
    /// The end of the batch.
    pub(super) place: Place,
}

/// The rows of a file for one view.
pub(super) struct Rows {
    lines: Lines,
    prefix: Option<Prefix>,
    view: Arc<FeatureView>,
    event_time: EventTime,
}

enum Lines {
    Csv(Csv, Header),
    Ndjson(Ndjson, Names),
}

/// Rows per call of the engine: large enough that a commit costs little, small enough not to hold up other writers.
const BATCH: usize = 500;

/// A row is not longer. A quotation mark too many makes one row of the rest of the file, whatever its size.
const LONGEST: u64 = 16 * 1024 * 1024;

impl Format {
    /// By the ending of the name; what does not tell is CSV.
    pub fn of(path: &Path) -> Self {
        let ending = path
            .extension()
            .map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("ndjson" | "jsonl" | "json") => Self::Ndjson,
            _ => Self::Csv,
        }
    }
}

impl Rows {
    /// `text` begins where `start` says, or with the file.
    pub(super) fn new(
        view: &Arc<FeatureView>,
        text: Box<dyn Read + Send>,
        mut prefix: Option<Prefix>,
        options: &ReadOptions,
        start: Option<Start>,
    ) -> Result<Self, MaterializeError> {
        let (offset, line) = start
            .as_ref()
            .map_or((0, 1), |start| (start.offset, start.line));
        let failed = |line, source| MaterializeError::Read { line, source };
        if let Some(prefix) = &mut prefix {
            prefix.digest(offset).map_err(|source| failed(1, source))?;
        }
        let lines = match options.format {
            Format::Csv => {
                let mut csv = Csv::new(text, offset, line);
                let names = match start {
                    Some(start) => start.names,
                    None => csv.header().map_err(|source| failed(1, source))?,
                };
                Lines::Csv(csv, Header::new(view, &names, options)?)
            }
            Format::Ndjson => {
                Lines::Ndjson(Ndjson::new(text, offset, line), Names::new(view, options))
            }
        };
        Ok(Self {
            lines,
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
                // What was read before is written first; the next call meets the error again.
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

    fn next(&mut self) -> io::Result<Option<(u64, Outcome)>> {
        Ok(match &mut self.lines {
            Lines::Csv(csv, header) => csv
                .next()?
                .map(|(line, fields)| (line, header.row(&self.view, &fields, self.event_time))),
            Lines::Ndjson(lines, names) => lines.next()?.map(|(line, text)| {
                (
                    line,
                    text.and_then(|text| names.row(&self.view, &text, self.event_time)),
                )
            }),
        })
    }

    fn place(&self) -> Place {
        let (offset, line) = match &self.lines {
            Lines::Csv(csv, _) => csv.place(),
            Lines::Ndjson(lines, _) => (lines.offset, lines.line),
        };
        Place {
            offset,
            line,
            digest: None,
        }
    }
}

/// Records with the lines that they begin on.
///
/// The reader's own positions do not serve: they count skipped blank lines to the record after them, and the second half of
/// CRLF to the next one. So lines end at LF alone, the CR is taken off here, a newline is put after the last line, and then
/// a record begins as many lines before the reader's place as it has newlines.
pub(super) struct Csv {
    reader: csv::Reader<io::Chain<Limited, &'static [u8]>>,
    /// Bytes read ahead since the last record ended.
    ahead: Arc<AtomicU64>,
    /// Bytes and lines before the reader's beginning.
    before: (u64, u64),
    broken: bool,
}

impl Csv {
    /// `text` begins after so many bytes, with this line.
    pub(super) fn new(text: Box<dyn Read + Send>, offset: u64, line: u64) -> Self {
        let mut builder = csv::ReaderBuilder::new();
        builder
            .has_headers(false)
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'));
        let ahead = Arc::new(AtomicU64::new(0));
        let limited = Limited {
            text,
            ahead: Arc::clone(&ahead),
        };
        Self {
            reader: builder.from_reader(limited.chain(&b"\n"[..])),
            ahead,
            before: (offset, line - 1),
            broken: false,
        }
    }

    /// The fields of the first record; none in an empty file. What is not UTF-8 is no name of a column.
    pub(super) fn header(&mut self) -> io::Result<Vec<String>> {
        let fields = self.next()?.map(|(_, fields)| fields).unwrap_or_default();
        Ok(fields
            .into_iter()
            .map(|field| String::from_utf8(field).unwrap_or_default())
            .collect())
    }

    fn next(&mut self) -> io::Result<Option<(u64, Vec<Vec<u8>>)>> {
        let mut record = csv::ByteRecord::new();
        if self.broken {
            return Err(too_long());
        }
        while self
            .reader
            .read_byte_record(&mut record)
            .map_err(|error| self.failed(error))?
        {
            self.ahead.store(0, Ordering::Relaxed);
            let mut fields: Vec<Vec<u8>> = record.iter().map(<[u8]>::to_vec).collect();
            let newlines = fields
                .iter()
                .flatten()
                .filter(|&&byte| byte == b'\n')
                .count() as u64;
            if let Some(last) = fields.last_mut() {
                last.pop_if(|byte| *byte == b'\r');
            }
            if fields != [b""] {
                let line = self.reader.position().line().saturating_sub(1 + newlines);
                return Ok(Some((self.before.1 + line, fields)));
            }
        }
        Ok(None)
    }

    /// After an error the reader stands anywhere, so it is not asked again.
    fn failed(&mut self, error: csv::Error) -> io::Error {
        self.broken = true;
        error.into()
    }

    fn place(&self) -> (u64, u64) {
        let position = self.reader.position();
        (
            self.before.0 + position.byte(),
            self.before.1 + position.line(),
        )
    }
}

/// Fails when more is read than a row may be long.
struct Limited {
    text: Box<dyn Read + Send>,
    ahead: Arc<AtomicU64>,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ahead.load(Ordering::Relaxed) > LONGEST {
            return Err(too_long());
        }
        let read = self.text.read(buffer)?;
        self.ahead.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A line, or why it is not looked at.
type Text = Result<Vec<u8>, String>;

/// Lines with their numbers.
struct Ndjson {
    reader: BufReader<Box<dyn Read + Send>>,
    offset: u64,
    line: u64,
}

impl Ndjson {
    fn new(text: Box<dyn Read + Send>, offset: u64, line: u64) -> Self {
        Self {
            reader: BufReader::new(text),
            offset,
            line,
        }
    }

    /// The next line that is not blank. One that is too long is passed over and is an error of its own.
    fn next(&mut self) -> io::Result<Option<(u64, Text)>> {
        loop {
            let mut text = Vec::new();
            let mut length = (&mut self.reader)
                .take(LONGEST)
                .read_until(b'\n', &mut text)? as u64;
            if length == 0 {
                return Ok(None);
            }
            let too_long = length == LONGEST && text.last() != Some(&b'\n');
            if too_long {
                length += self.reader.skip_until(b'\n')? as u64;
            }
            let line = self.line;
            self.offset += length;
            self.line += 1;
            if too_long {
                return Ok(Some((line, Err(format!("is longer than {LONGEST} bytes")))));
            }
            // A mark of the byte order, as some programs write it before the first line, is no JSON.
            let bare = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
            if !bare.trim_ascii().is_empty() {
                return Ok(Some((line, Ok(bare.to_vec()))));
            }
        }
    }
}

fn too_long() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a row is longer than {LONGEST} bytes; a quotation mark may be missing"),
    )
}
