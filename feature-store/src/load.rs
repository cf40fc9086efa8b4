//! Loading a CSV file into a view.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use crate::StorageOptions;
use crate::backend::{BackendError, EntityKey, FeatureBackend, Row, Written};
use crate::error::Error;
use crate::time::{Clock, EventTime};
use crate::value::WrongType;
use crate::views::{Feature, FeatureView};

/// What `feature-store load` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct LoadConfig {
    #[command(flatten)]
    /// Where the features are stored
    pub storage: StorageOptions,
    /// The feature view to load into
    #[arg(long, value_name = "NAME")]
    pub view: String,
    /// CSV file with a header
    #[arg(long, value_name = "PATH")]
    pub file: PathBuf,
    /// A column of the file that has another name here, such as `data_id=wine_id`; may be given several times
    #[arg(long, value_name = "COLUMN=NAME", value_parser = mapping)]
    pub map: Vec<(String, String)>,
    /// Event time of rows in a file without the column `event_timestamp` [default: now]
    #[arg(long, value_name = "TIME", value_parser = event_time)]
    pub event_timestamp: Option<EventTime>,
}

/// How to read a file.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Columns of the file and the names they stand for.
    pub map: Vec<(String, String)>,
    /// Event time of rows in a file without the column `event_timestamp`.
    pub event_time: EventTime,
}

/// What became of the rows of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// Rows that were written, and rows that were older than what is stored.
    pub rows: Written,
    /// Number of rows that could not be read.
    pub refused: u64,
    /// The first of them; a file of the wrong kind must not fill the memory with complaints.
    pub refusals: Vec<RefusedRow>,
}

/// A row that was left out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefusedRow {
    /// Its line in the file, from 1.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// The file cannot be loaded at all, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The view is not declared.
    #[error("there is no feature view {0:?}")]
    UnknownView(String),
    /// The header lacks a column, or has it twice.
    #[error("the file must have exactly one column {column:?}; it has {}", header.join(", "))]
    Column {
        /// The name that is looked for, after mapping.
        column: String,
        /// What the file has, after mapping.
        header: Vec<String>,
    },
    /// The file cannot be read on.
    #[error("cannot read the file")]
    Read(#[source] csv::Error),
    /// The engine failed; earlier rows are stored, and loading again is safe.
    #[error("cannot store the rows")]
    Store(#[from] BackendError),
}

/// Rows per call of the engine: large enough that a commit costs little, small enough not to hold up other writers.
const BATCH: usize = 500;

/// Refused rows that are reported one by one.
const REPORTED: usize = 100;

/// Opens database and file and loads the one into the other.
pub async fn load_file(config: &LoadConfig) -> Result<LoadReport, Error> {
    let (views, backend) = crate::open(&config.storage)?;
    let view = views.view(&config.view).ok_or_else(|| LoadError::UnknownView(config.view.clone()))?;
    let open = |source| LoadError::Open { path: config.file.clone(), source };
    let file = File::open(&config.file).map_err(open)?;
    let event_time = config.event_timestamp.unwrap_or_else(|| Clock::system().now());
    let options = LoadOptions { map: config.map.clone(), event_time };
    Ok(load_csv(&*backend, view, file, &options).await?)
}

/// Writes the rows of a CSV file with a header. A row that does not fit is left out and reported; an empty field is null;
/// columns that the view has not are ignored.
pub async fn load_csv<R: Read>(
    backend: &dyn FeatureBackend,
    view: &Arc<FeatureView>,
    reader: R,
    options: &LoadOptions,
) -> Result<LoadReport, LoadError> {
    let mut lines = Lines::new(reader);
    let header = match lines.next()? {
        Some((_, fields)) => Header::new(view, &text(&fields).unwrap_or_default(), options)?,
        None => Header::new(view, &[], options)?,
    };
    let mut report = LoadReport::default();
    let mut batch = Vec::with_capacity(BATCH);
    while let Some((line, fields)) = lines.next()? {
        match header.row(view, &fields, options.event_time) {
            Ok(row) => batch.push(row),
            Err(reason) => report.refuse(RefusedRow { line, reason }),
        }
        if batch.len() == BATCH {
            report.store(backend, view, std::mem::take(&mut batch)).await?;
        }
    }
    report.store(backend, view, batch).await?;
    Ok(report)
}

impl LoadReport {
    fn refuse(&mut self, refused: RefusedRow) {
        self.refused += 1;
        if self.refusals.len() < REPORTED {
            self.refusals.push(refused);
        }
    }

    async fn store(
        &mut self,
        backend: &dyn FeatureBackend,
        view: &Arc<FeatureView>,
        rows: Vec<(EntityKey, Row)>,
    ) -> Result<(), BackendError> {
        let written = backend.write(view, rows).await?;
        self.rows.written += written.written;
        self.rows.outdated += written.outdated;
        Ok(())
    }
}

/// Records with the lines that they begin on.
///
/// The reader's own positions do not serve: they count skipped blank lines to the record after them, and the second half of
/// CRLF to the next one. So lines end at LF alone, the CR is taken off here, a newline is put after the last line, and then
/// a record begins as many lines before the reader's place as it has newlines.
struct Lines<R> {
    reader: csv::Reader<io::Chain<R, &'static [u8]>>,
}

/// Where a record begins, and its fields.
type Line = (u64, Vec<Vec<u8>>);

impl<R: Read> Lines<R> {
    fn new(reader: R) -> Self {
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).flexible(true).terminator(csv::Terminator::Any(b'\n'));
        Self { reader: builder.from_reader(reader.chain(&b"\n"[..])) }
    }

    fn next(&mut self) -> Result<Option<Line>, LoadError> {
        let mut record = csv::ByteRecord::new();
        while self.reader.read_byte_record(&mut record).map_err(LoadError::Read)? {
            let mut fields: Vec<Vec<u8>> = record.iter().map(<[u8]>::to_vec).collect();
            let newlines = fields.iter().flatten().filter(|&&byte| byte == b'\n').count() as u64;
            if let Some(last) = fields.last_mut() {
                last.pop_if(|byte| *byte == b'\r');
            }
            if fields != [b""] {
                let line = self.reader.position().line().saturating_sub(1 + newlines);
                return Ok(Some((line, fields)));
            }
        }
        Ok(None)
    }
}

/// Where the columns of a view stand in a file.
struct Header {
    width: usize,
    join_keys: Vec<usize>,
    features: Vec<usize>,
    event_time: Option<usize>,
}

impl Header {
    fn new(view: &FeatureView, names: &[&str], options: &LoadOptions) -> Result<Self, LoadError> {
        let map: HashMap<&str, &str> = options.map.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        let names: Vec<&str> = names.iter().map(|name| map.get(name.trim()).copied().unwrap_or(name.trim())).collect();
        let places = |column: &str| (0..names.len()).filter(|&at| names[at] == column).collect::<Vec<_>>();
        let place = |column: &String| {
            let header = || names.iter().map(|&name| name.to_owned()).collect();
            let [at] = places(column)[..] else {
                return Err(LoadError::Column { column: column.clone(), header: header() });
            };
            Ok(at)
        };
        let join_keys = view.join_keys.iter().map(place).collect::<Result<_, _>>()?;
        let features = view.features.iter().map(|feature| place(&feature.name)).collect::<Result<_, _>>()?;
        let event_time = names.iter().position(|name| *name == "event_timestamp");
        Ok(Self { width: names.len(), join_keys, features, event_time })
    }

    fn row(&self, view: &FeatureView, fields: &[Vec<u8>], event_time: EventTime) -> Result<(EntityKey, Row), String> {
        let record = text(fields).ok_or("is not UTF-8")?;
        if record.len() != self.width {
            return Err(format!("has {} fields instead of {}", record.len(), self.width));
        }
        let keys: Vec<&str> = self.join_keys.iter().map(|&at| record[at].trim()).collect();
        if let Some(at) = keys.iter().position(|key| key.is_empty()) {
            return Err(format!("{} is empty", view.join_keys[at]));
        }
        let event_time = match self.event_time.map(|at| EventTime::parse(record[at])) {
            None => event_time,
            Some(time) => time.ok_or("event_timestamp is not an ISO 8601 time")?,
        };
        let value = |(feature, &at): (&Feature, &usize)| {
            feature.dtype.from_text(record[at]).map_err(|error: WrongType| format!("{} is {error}", feature.name))
        };
        let values = view.features.iter().zip(&self.features).map(value).collect::<Result<_, _>>()?;
        Ok((EntityKey::from_texts(&keys), Row { event_time, values }))
    }
}

fn text(fields: &[Vec<u8>]) -> Option<Vec<&str>> {
    fields.iter().map(|field| std::str::from_utf8(field).ok()).collect()
}

fn mapping(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.to_owned(), to.to_owned())),
        _ => Err(format!("`{text}` is not of the form column=name")),
    }
}

fn event_time(text: &str) -> Result<EventTime, String> {
    EventTime::parse(text).ok_or_else(|| format!("`{text}` is no time such as 2026-06-01T10:00:00Z"))
}

#[cfg(test)]
mod tests;
