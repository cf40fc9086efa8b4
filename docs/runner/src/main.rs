//! Runs documents: each page is one shell session, whose blocks are run in order and whose shown outputs are compared.

mod book;
mod checkout;
mod component;
mod info;
mod output;
mod page;
mod ports;
mod process;
mod report;
mod run;
mod session;
mod step;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::checkout::Checkout;
use crate::page::Page;
use crate::report::Report;

/// Run documents: the commands of each page in one shell session, its shown outputs compared
#[derive(Debug, Parser)]
#[command(name = "docs-runner", version, about)]
pub(crate) struct Options {
    /// The pages, Markdown files of this repository
    #[arg(required = true, value_name = "PAGE")]
    pages: Vec<PathBuf>,
    /// How many pages run at the same time
    #[arg(long, default_value_t = 2, value_name = "N")]
    jobs: usize,
    /// Run `cargo run` where a page says `cargo run --release`: quicker to build while writing
    #[arg(long)]
    dev: bool,
    /// Deadline of a block that names none, in seconds
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    timeout: u64,
    /// Write what ran to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the pages into this folder as the source of a book for mdBook
    #[arg(long, value_name = "FOLDER")]
    book: Option<PathBuf>,
    /// Print every block and its output
    #[arg(long, short)]
    verbose: bool,
    /// Only list what would be ignored, and check the pages' marks
    #[arg(long)]
    list: bool,
}

impl Options {
    fn deadline(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

fn main() -> ExitCode {
    // A hook of git calls this program with the folder whose file times a new clone gets.
    if let Some(root) = std::env::var_os(checkout::HOOK_VARIABLE) {
        return exit(checkout::copy_times(&PathBuf::from(root)).map(|()| true));
    }
    exit(run(&Options::parse()))
}

fn run(options: &Options) -> Result<bool> {
    process::end_with_signals()?;
    let pages: Vec<Page> = options
        .pages
        .iter()
        .map(|path| Page::read(path))
        .collect::<Result<_>>()?;
    if options.list {
        let report = Report::new(pages.iter().map(Page::listed).collect());
        write_book(options, &report, &checkout::root()?, "")?;
        return Ok(report.print());
    }
    let checkout = Checkout::new(options)?;
    if pages.iter().any(Page::builds) {
        checkout.build()?;
    }
    let report = Report::new(run::pages(&pages, options, &checkout));
    if let Some(path) = &options.report {
        std::fs::write(path, report.json(&checkout.commit()))
            .with_context(|| format!("cannot write the report {}", path.display()))?;
    }
    ensure!(!process::ending(), "ended by a signal");
    write_book(options, &report, &checkout.root, &checkout.commit())?;
    Ok(report.print())
}

fn write_book(options: &Options, report: &Report, root: &Path, commit: &str) -> Result<()> {
    let Some(folder) = &options.book else {
        return Ok(());
    };
    book::write(root, folder, report.pages(), commit).context("cannot write the book")
}

#[expect(clippy::print_stderr, reason = "it is a command")]
fn exit(result: Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("docs-runner: {error:#}");
            ExitCode::from(2)
        }
    }
}
