//! `feature-store materialize`: the rows of a file into a view, in batches, to be gone on with when it is interrupted.
//!
//! A thread reads the file (`rows`), the batches go to the engine (`pump`), which also keeps the mark where to go on (`mark`).
//! What is told meanwhile is in `progress`. Memory holds a few batches, whatever the size of the file.

mod columns;
mod mark;
mod progress;
mod pump;
mod rows;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

pub use rows::Format;

use crate::StorageOptions;
use crate::backend::{BackendError, FeatureBackend, Written};
use crate::error::Error;
use crate::time::{Clock, EventTime};
use crate::views::FeatureView;
use mark::{Mark, Prefix};
use progress::Progress;
use pump::{Ended, PATIENCE, Pump};
use rows::{Rows, Start};

/// What `feature-store materialize` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct MaterializeConfig {
    #[command(flatten)]
    /// Where the features are stored
    pub storage: StorageOptions,
    /// The feature view to write into
    #[arg(long, value_name = "NAME")]
    pub view: String,
    /// File of rows, `-` for standard input
    #[arg(long, value_name = "PATH")]
    pub file: PathBuf,
    /// CSV with a header, or one JSON object a line [default: by the file's ending, else csv]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// A column of the file that has another name here, such as `data_id=wine_id`; may be given several times
    #[arg(long, value_name = "COLUMN=NAME", value_parser = mapping)]
    pub map: Vec<(String, String)>,
    /// Event time of rows in a file without the column `event_timestamp` [default: now]
    #[arg(long, value_name = "TIME", value_parser = event_time)]
    pub event_timestamp: Option<EventTime>,
    /// File to write all refused rows to, as JSON lines of line number and reason
    #[arg(long, value_name = "PATH")]
    pub refused: Option<PathBuf>,
    /// Begin anew, even if an earlier run of this file was interrupted
    #[arg(long)]
    pub restart: bool,
    /// Batches that are written at the same time [default: 1 for a file, 8 for Redis]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: Option<u16>,
}

/// How to read rows.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Of what kind the text is.
    pub format: Format,
    /// Columns of the file and the names they stand for.
    pub map: Vec<(String, String)>,
    /// Event time of rows in a file without the column `event_timestamp`.
    pub event_time: EventTime,
}

/// What became of the rows of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Rows that were written, and rows that were older than what is stored.
    pub rows: Written,
    /// Number of rows that could not be read.
    pub refused: u64,
    /// The first of them; a file of the wrong kind must not fill the memory with complaints.
    pub refusals: Vec<RefusedRow>,
}

/// A row that was left out.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RefusedRow {
    /// Its line in the file, from 1.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// The file cannot be written at all, or not to its end.
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
    /// The header lacks a column, or has it twice.
    #[error("the file must have exactly one column {column:?}; it has {}", header.join(", "))]
    Column {
        /// The name that is looked for, after mapping.
        column: String,
        /// What the file has, after mapping.
        header: Vec<String>,
    },
    /// The file cannot be read on.
    #[error("cannot read the file on from line {line}")]
    Read {
        /// Where the row began that could not be read.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// The thread that reads the file is gone.
    #[error("the file is not read any more")]
    Reader,
    /// The file of refused rows.
    #[error("cannot write the refused rows to {}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The engine does not answer at the start.
    #[error("cannot begin")]
    Begin(#[source] BackendError),
    /// The engine failed; earlier rows are stored, and the same command goes on after them.
    #[error("cannot store the rows")]
    Store(#[from] BackendError),
}

/// Refused rows that are reported one by one.
const REPORTED: usize = 100;

/// Exit statuses beside 0 (all rows are stored), 1 (it failed) and 2 (wrong usage).
const SOME_REFUSED: u8 = 3;
const INTERRUPTED: u8 = 130;

/// Runs the command and tells what became of the rows. Nobody is left to tell when standard output or error is closed.
pub(crate) fn main(config: &MaterializeConfig) -> ExitCode {
    // Rows are read, encoded and sent by different threads; more of them have nothing to do.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = runtime.map_err(Error::Runtime).and_then(|runtime| {
        let ended = runtime.block_on(run(config));
        // A read of standard input cannot be ended, and must not hold up the exit.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(Ended::Whole(report)) => {
            let _ = io::stdout().write_all(describe(config, &report).as_bytes());
            if report.refused == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(SOME_REFUSED)
            }
        }
        Ok(Ended::Interrupted { report, line }) => {
            let _ = io::stdout().write_all(describe(config, &report).as_bytes());
            let _ = writeln!(
                io::stderr(),
                "interrupted before line {line}; {}",
                advice(config)
            );
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            let _ = writeln!(
                io::stderr(),
                "feature-store materialize: {}",
                runtime::chain(&error)
            );
            if matches!(error, Error::Materialize(MaterializeError::Store(_))) {
                let _ = writeln!(io::stderr(), "{}", advice(config));
            }
            ExitCode::FAILURE
        }
    }
}

/// Opens store and file and writes the one into the other.
async fn run(config: &MaterializeConfig) -> Result<Ended, Error> {
    let (views, backend) = crate::open(&config.storage)?;
    let view = views
        .view(&config.view)
        .ok_or_else(|| MaterializeError::UnknownView(config.view.clone()))?;
    let input = Input::open(&config.file)?;
    backend.ping().await.map_err(MaterializeError::Begin)?;
    let format = config.format.unwrap_or_else(|| Format::of(&config.file));
    let event_time = config
        .event_timestamp
        .unwrap_or_else(|| Clock::system().now());
    let mut options = ReadOptions {
        format,
        map: config.map.clone(),
        event_time,
    };
    let name = input.identity(view, &options)?;
    let mark = match &name {
        Some(name) if !config.restart => mark::find(&*backend, name, &input).await?,
        _ => None,
    };
    if let Some(mark) = &mark {
        // Rows without a time of their own keep the one of the first run.
        options.event_time = config
            .event_timestamp
            .or(EventTime::from_micros(mark.event_time))
            .unwrap_or(event_time);
        let _ = writeln!(
            io::stderr(),
            "{}: going on at line {}",
            config.view,
            mark.line
        );
    }
    let progress = Progress::new(&config.view, input.size, mark.as_ref());
    let rows = input.rows(view, &options, mark.as_ref())?;
    let refused = config
        .refused
        .as_deref()
        .map(|path| refused_file(path, mark.is_some()))
        .transpose()?;
    let concurrency = config
        .concurrency
        .map_or_else(|| backend.writers(), usize::from);
    let pump = Pump {
        backend,
        view: Arc::clone(view),
        concurrency,
        name,
        event_time: options.event_time,
        refused,
        progress,
        patience: PATIENCE,
    };
    Ok(pump
        .run(rows, mark.unwrap_or_default(), pump::signalled())
        .await?)
}

/// Writes all rows of a text. A row that does not fit is left out and reported.
pub async fn write_all(
    backend: Arc<dyn FeatureBackend>,
    view: &Arc<FeatureView>,
    text: impl Read + Send + 'static,
    options: &ReadOptions,
) -> Result<Report, MaterializeError> {
    let rows = Rows::new(view, Box::new(text), None, options, None)?;
    let (concurrency, event_time) = (backend.writers(), options.event_time);
    let (name, refused, progress) = (None, None, Progress::none());
    let pump = Pump {
        backend,
        view: Arc::clone(view),
        concurrency,
        name,
        event_time,
        refused,
        progress,
        patience: PATIENCE,
    };
    match pump
        .run(rows, Mark::default(), std::future::pending())
        .await?
    {
        Ended::Whole(report) | Ended::Interrupted { report, .. } => Ok(report),
    }
}

impl Report {
    fn refuse(&mut self, refused: RefusedRow) {
        self.refused += 1;
        if self.refusals.len() < REPORTED {
            self.refusals.push(refused);
        }
    }
}

/// A file, or standard input, which cannot be gone on with.
struct Input {
    path: PathBuf,
    file: Option<File>,
    size: Option<u64>,
}

impl Input {
    fn open(path: &Path) -> Result<Self, MaterializeError> {
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
        // A pipe has neither a size nor a beginning to go back to.
        Ok(Self {
            path: path.to_owned(),
            size: kind.is_file().then_some(kind.len()),
            file: Some(file),
        })
    }

    /// The name of the mark of this file and these options in a store; none for what cannot be gone on with.
    fn identity(
        &self,
        view: &FeatureView,
        options: &ReadOptions,
    ) -> Result<Option<String>, MaterializeError> {
        let Some(mut file) = self.again()? else {
            return Ok(None);
        };
        mark::name(&mut file, view, options)
            .map(Some)
            .map_err(|source| MaterializeError::Read { line: 1, source })
    }

    fn rows(
        &self,
        view: &Arc<FeatureView>,
        options: &ReadOptions,
        mark: Option<&Mark>,
    ) -> Result<Rows, MaterializeError> {
        let Some(mut file) = self.again()? else {
            let text: Box<dyn Read + Send> = match &self.file {
                Some(pipe) => Box::new(pipe.try_clone().map_err(|source| self.failed(source))?),
                None => Box::new(io::stdin()),
            };
            return Rows::new(view, text, None, options, None);
        };
        let prefix = self.again()?.map(Prefix::new);
        let (Some(mark), Some(beginning)) = (mark, self.again()?) else {
            return Rows::new(view, Box::new(file), prefix, options, None);
        };
        let names = columns::header_of(options.format, beginning);
        let names = names.map_err(|source| MaterializeError::Read { line: 1, source })?;
        file.seek(SeekFrom::Start(mark.offset))
            .map_err(|source| self.failed(source))?;
        let start = Start {
            names,
            offset: mark.offset,
            line: mark.line,
        };
        Rows::new(view, Box::new(file), prefix, options, Some(start))
    }

    /// One more handle of the file, at its beginning.
    fn again(&self) -> Result<Option<File>, MaterializeError> {
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

fn refused_file(path: &Path, append: bool) -> Result<(PathBuf, File), MaterializeError> {
    let opened = File::options()
        .create(true)
        .write(true)
        .append(append)
        .truncate(!append)
        .open(path);
    let file = opened.map_err(|source| MaterializeError::Open {
        path: path.to_owned(),
        source,
    })?;
    Ok((path.to_owned(), file))
}

fn describe(config: &MaterializeConfig, report: &Report) -> String {
    let file = config.file.display();
    let mut text = format!(
        "{}: {} rows written, {} older than what is stored, {} refused\n",
        config.view, report.rows.written, report.rows.outdated, report.refused
    );
    let refusals = report
        .refusals
        .iter()
        .map(|refused| format!("{file}:{}: {}\n", refused.line, refused.reason));
    text.extend(refusals);
    let more = report.refused - report.refusals.len() as u64;
    if more > 0 {
        let told = config
            .refused
            .as_ref()
            .map(|path| format!("{} has all of them", path.display()));
        let told = told.unwrap_or_else(|| "--refused FILE tells all of them".to_owned());
        text.extend(["and ", &more.to_string(), " more; ", &told, "\n"]);
    }
    text
}

fn advice(config: &MaterializeConfig) -> &'static str {
    if config.file == Path::new("-") {
        "standard input cannot be gone on with; giving all of it again is safe"
    } else {
        "run the same command again to go on from there, or with --restart to begin anew"
    }
}

fn mapping(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => {
            Ok((from.to_owned(), to.to_owned()))
        }
        _ => Err(format!("`{text}` is not of the form column=name")),
    }
}

fn event_time(text: &str) -> Result<EventTime, String> {
    EventTime::parse(text)
        .ok_or_else(|| format!("`{text}` is no time such as 2026-06-01T10:00:00Z"))
}

#[cfg(test)]
mod tests;
