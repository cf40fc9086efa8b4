//! Splits a file into records, each with the line on which it begins.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest record. With a quotation mark too many the rest of the file is one record, whatever
/// its size.
const LONGEST: u64 = 16 * 1024 * 1024;

/// The records of a CSV file.
///
/// The positions of the `csv` reader are not those of the records: it counts skipped blank lines
/// and the LF of a CRLF to the next record. So here only LF ends a line, the CR is removed, and a
/// newline follows the last line. Then the first line of a record is that of the reader less the
/// newlines in the record.
pub(super) struct CsvRecords {
    reader: csv::Reader<io::Chain<Limited, &'static [u8]>>,
    /// Bytes read ahead since the last record ended.
    ahead: Arc<AtomicU64>,
    /// Bytes and lines of the file before the reader's first.
    before: (u64, u64),
    broken: bool,
}

impl CsvRecords {
    /// `text` begins at this byte and this line of the file.
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

    /// The fields of the first record; none in an empty file. A field that is not UTF-8 becomes
    /// empty.
    pub(super) fn header(&mut self) -> io::Result<Vec<String>> {
        let fields = self.next()?.map(|(_, fields)| fields).unwrap_or_default();
        Ok(fields
            .into_iter()
            .map(|field| String::from_utf8(field).unwrap_or_default())
            .collect())
    }

    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Vec<Vec<u8>>)>> {
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

    /// After an error the position of the reader is unknown, so it is not used again.
    fn failed(&mut self, error: csv::Error) -> io::Error {
        self.broken = true;
        error.into()
    }

    /// Bytes and lines up to here.
    pub(super) fn position(&self) -> (u64, u64) {
        let position = self.reader.position();
        (
            self.before.0 + position.byte(),
            self.before.1 + position.line(),
        )
    }
}

/// Returns an error when a record is longer than it may be.
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

/// A line, or why it is refused.
type Line = Result<Vec<u8>, String>;

/// The lines of a file of JSON objects.
pub(super) struct JsonLines {
    reader: BufReader<Box<dyn Read + Send>>,
    pub(super) offset: u64,
    pub(super) line: u64,
}

impl JsonLines {
    pub(super) fn new(text: Box<dyn Read + Send>, offset: u64, line: u64) -> Self {
        Self {
            reader: BufReader::new(text),
            offset,
            line,
        }
    }

    /// The next line that is not blank. A line that is too long is skipped and refused.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Line)>> {
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
            // Some programs write a byte order mark before the first line; it is not JSON.
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
