//! `feature-store materialize`: writes the rows of a file into a view, in batches. An interrupted
//! run can be continued.
//!
//! A thread reads the file (`source`, `records`, `columns`, `rows`), `pump` writes the batches to
//! the backend, which also stores the mark where to continue (`mark`). Memory holds a few batches,
//! whatever the size of the file.

mod columns;
mod error;
mod format;
mod mark;
mod progress;
mod pump;
mod records;
mod rows;
mod source;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use runtime::Health;
use serde::Serialize;

pub use error::MaterializeError;
pub use format::Format;

use crate::StorageOptions;
use crate::backend::{FeatureBackend, Written};
use crate::time::{Clock, EventTime};
use crate::views::FeatureView;
use error::CommandError;
use mark::Mark;
use progress::Progress;
use pump::{Ended, PATIENCE, Pump};
use rows::RowReader;
use source::Source;

/// Options of `feature-store materialize`.
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
    /// A column of the file that has another name here, such as `data_id=wine_id`; may be given
    /// several times
    #[arg(long, value_name = "COLUMN=NAME", value_parser = mapping)]
    pub map: Vec<(String, String)>,
    /// Event time of rows in a file without the column `event_timestamp` [default: now]
    #[arg(long, value_name = "TIME", value_parser = event_time)]
    pub event_timestamp: Option<EventTime>,
    /// File to write all refused rows to, as JSON lines of line number and reason
    #[arg(long, value_name = "PATH")]
    pub refused: Option<PathBuf>,
    /// Start from the beginning, even if an earlier run of this file was interrupted
    #[arg(long)]
    pub restart: bool,
    /// Batches to write at the same time [default: 1 for a file, 8 for Redis]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: Option<u16>,
}

/// How to read rows.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The format of the text.
    pub format: Format,
    /// Columns of the file and their names in the view.
    pub map: Vec<(String, String)>,
    /// Event time of rows in a file without the column `event_timestamp`.
    pub event_time: EventTime,
    /// How far beyond this machine's clock an event time may lie.
    pub max_future: Duration,
}

/// The result of writing the rows of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MaterializeReport {
    /// Rows that were written, and rows that were older than the stored ones.
    pub rows: Written,
    /// Number of rows that could not be read.
    pub refused: u64,
    /// The first of them; a file of the wrong format must not fill the memory.
    pub refusals: Vec<RefusedRow>,
}

/// A row that was not written.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RefusedRow {
    /// Its line in the file, from 1.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// Refused rows that the report lists.
const REPORTED: usize = 100;

/// Exit statuses beside 0 (all rows are stored), 1 (it failed) and 2 (wrong usage).
const SOME_REFUSED: u8 = 3;
const INTERRUPTED: u8 = 130;

/// Runs the command and prints the report. A closed standard output or error is ignored.
pub(crate) fn main(config: &MaterializeConfig) -> ExitCode {
    // Reading, encoding and sending keep two threads busy; more would be idle.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = runtime.map_err(CommandError::Runtime).and_then(|runtime| {
        let ended = runtime.block_on(run(config));
        // A read of standard input cannot be cancelled and must not delay the exit.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(Ended::Whole(report)) => {
            print_report(config, &report);
            if report.refused == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(SOME_REFUSED)
            }
        }
        Ok(Ended::Interrupted { report, line }) => {
            print_report(config, &report);
            print_note(&format!(
                "interrupted before line {line}; {}",
                advice(config)
            ));
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            let causes = runtime::chain(&error);
            print_note(&format!("feature-store materialize: {causes}"));
            if matches!(error, CommandError::Materialize(MaterializeError::Store(_))) {
                print_note(advice(config));
            }
            ExitCode::FAILURE
        }
    }
}

fn print_report(config: &MaterializeConfig, report: &MaterializeReport) {
    let _ = io::stdout().write_all(describe(config, report).as_bytes());
}

fn print_note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Opens the store and the file, and writes the rows.
async fn run(config: &MaterializeConfig) -> Result<Ended, CommandError> {
    let (views, backend) = crate::open(&config.storage, &Health::new())?;
    let view = views
        .view(&config.view)
        .ok_or_else(|| MaterializeError::UnknownView(config.view.clone()))?;
    let source = Source::open(&config.file)?;
    backend.ping().await.map_err(MaterializeError::Begin)?;
    let format = config.format.unwrap_or_else(|| Format::of(&config.file));
    let event_time = config
        .event_timestamp
        .unwrap_or_else(|| Clock::system().now());
    let mut options = ReadOptions {
        format,
        map: config.map.clone(),
        event_time,
        max_future: config.storage.max_future,
    };
    let mark_name = source.mark_name(view, &options)?;
    let mark = match &mark_name {
        Some(name) if !config.restart => source.find_mark(&*backend, name).await?,
        _ => None,
    };
    if let Some(mark) = &mark {
        // Rows without an event time keep that of the first run.
        options.event_time = config
            .event_timestamp
            .or(EventTime::from_micros(mark.event_time))
            .unwrap_or(event_time);
        print_note(&format!("{}: going on at line {}", config.view, mark.line));
    }
    let progress = Progress::new(&config.view, source.size, mark.as_ref());
    let rows = source.rows(view, &options, mark.as_ref())?;
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
        mark_name,
        event_time: options.event_time,
        refused,
        progress,
        patience: PATIENCE,
    };
    Ok(pump
        .run(rows, mark.unwrap_or_default(), pump::signalled())
        .await?)
}

/// Writes all rows of a text. A row that is not valid is refused and reported.
pub async fn write_all(
    backend: Arc<dyn FeatureBackend>,
    view: &Arc<FeatureView>,
    text: impl Read + Send + 'static,
    options: &ReadOptions,
) -> Result<MaterializeReport, MaterializeError> {
    let rows = RowReader::new(view, Box::new(text), None, options, None)?;
    let (concurrency, event_time) = (backend.writers(), options.event_time);
    let pump = Pump {
        backend,
        view: Arc::clone(view),
        concurrency,
        mark_name: None,
        event_time,
        refused: None,
        progress: Progress::none(),
        patience: PATIENCE,
    };
    match pump
        .run(rows, Mark::default(), std::future::pending())
        .await?
    {
        Ended::Whole(report) | Ended::Interrupted { report, .. } => Ok(report),
    }
}

impl MaterializeReport {
    fn is_empty(&self) -> bool {
        self.rows == Written::default() && self.refused == 0
    }

    fn refuse(&mut self, refused: RefusedRow) {
        self.refused += 1;
        if self.refusals.len() < REPORTED {
            self.refusals.push(refused);
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

fn describe(config: &MaterializeConfig, report: &MaterializeReport) -> String {
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
        let all = match &config.refused {
            Some(path) => format!("{} has all of them", path.display()),
            None => "--refused FILE lists all of them".to_owned(),
        };
        text.extend(["and ", &more.to_string(), " more; ", &all, "\n"]);
    }
    text
}

fn advice(config: &MaterializeConfig) -> &'static str {
    if config.file == Path::new("-") {
        "standard input cannot be continued; it is safe to send all of it again"
    } else {
        "run the same command again to go on from there, or with --restart to start from the beginning"
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
        .ok_or_else(|| format!("`{text}` is not a time such as 2026-06-01T10:00:00Z"))
}

#[cfg(test)]
mod tests;
