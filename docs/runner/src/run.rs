//! Runs pages: several side by side, each from its first block to its last or to its first failure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use parking_lot::{Mutex, MutexGuard};
use rustix::process::Signal;

use crate::Options;
use crate::checkout::Checkout;
use crate::component::Component;
use crate::info::{Info, Output, Run};
use crate::output::difference;
use crate::page::{Block, Page};
use crate::ports::Ports;
use crate::process::{ending, wait_until};
use crate::report::{Outcome, PageReport, say};
use crate::session::{Session, get, printed};

/// Time for a background block to print what the page shows.
const OUTPUT_PATIENCE: Duration = Duration::from_mins(2);

/// Time between two tries of a block that waits for something.
const RETRY: Duration = Duration::from_millis(500);

/// Runs all pages. The reports are in the order of the pages.
pub(crate) fn pages(pages: &[Page], options: &Options, checkout: &Checkout) -> Vec<PageReport> {
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, pages.len().max(1)) {
            scope.spawn(|| {
                while let index = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(page) = pages.get(index)
                {
                    let report = one(index, page, options, checkout);
                    reports.lock().insert(index, report);
                }
            });
        }
    });
    reports.into_inner().into_values().collect()
}

/// One page, with a message when it begins and ends.
fn one(index: usize, page: &Page, options: &Options, checkout: &Checkout) -> PageReport {
    let mut report = PageReport::of(page);
    if !page.acts() {
        return report;
    }
    let missing = page.needs.iter().find_map(|component| component.missing());
    if let Some(missing) = missing {
        report.outcome = if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
            Outcome::Failed(missing)
        } else {
            Outcome::Skipped(missing)
        };
        return report;
    }
    let _servers = reserve(page);
    let began = Instant::now();
    let emptied = page
        .needs
        .iter()
        .try_for_each(|component| component.empty());
    let result = emptied
        .and_then(|()| Running::start(index, page, options, checkout))
        .and_then(|running| running.finish(&mut report));
    report.took = began.elapsed();
    if let Err(error) = result {
        report.outcome = Outcome::Failed(format!("{error:#}"));
    }
    say(&report.line());
    report
}

/// Waits for the servers that pages share.
fn reserve(page: &Page) -> Vec<MutexGuard<'static, ()>> {
    static SERVERS: LazyLock<BTreeMap<Component, Mutex<()>>> = LazyLock::new(|| {
        [Component::Elasticsearch, Component::Redis]
            .map(|component| (component, Mutex::new(())))
            .into()
    });
    // Always in the same order, so that two pages never wait for each other.
    let mut needs = page.needs.clone();
    needs.sort();
    needs.dedup();
    needs
        .iter()
        .filter(|component| component.is_shared())
        .filter_map(|component| Some(SERVERS.get(component)?.lock()))
        .collect()
}

/// A page that is being run.
struct Running<'a> {
    page: &'a Page,
    options: &'a Options,
    ports: Ports,
    session: Session,
    /// The output of the last command, and whether it may still grow
    output: Option<(PathBuf, bool)>,
}

impl<'a> Running<'a> {
    fn start(
        index: usize,
        page: &'a Page,
        options: &'a Options,
        checkout: &Checkout,
    ) -> Result<Self> {
        let name = format!(
            "{index}-{}",
            page.path.file_stem().unwrap_or_default().display()
        );
        let folder = checkout.folder().join(&name);
        let directory = folder.join("throughline");
        std::fs::create_dir_all(&folder)?;
        if page.clones() {
            std::fs::create_dir_all(&directory)?;
        } else {
            checkout.clone_to(&directory)?;
            // Cargo's variable says where it builds; this is for pages that start what was built.
            std::os::unix::fs::symlink(target(page, checkout, &folder), directory.join("target"))?;
        }
        let ports = Ports::of(page)?;
        let mut variables = variables(page, checkout, &folder)?;
        variables.extend(
            ports
                .variables()
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let session = Session::start(&name, &directory, &folder.join("blocks"), &variables)?;
        Ok(Self {
            page,
            options,
            ports,
            session,
            output: None,
        })
    }

    fn finish(mut self, report: &mut PageReport) -> Result<()> {
        let mut failed = String::new();
        for block in &self.page.blocks {
            let place = format!("{}:{}", self.page.path.display(), block.line);
            let began = Instant::now();
            let result = self.block(block, report);
            self.tell(&format!("{place}: {:.1} s", began.elapsed().as_secs_f64()));
            match result {
                Ok(()) => {}
                Err(error) if matches!(block.info, Info::Output(_)) => {
                    let _ = writeln!(failed, "{place}: {error:#}");
                }
                Err(error) => {
                    let text = block.text.trim_end();
                    let _ = write!(failed, "{place}: {error:#}\nThe block:\n{text}\n");
                    break;
                }
            }
        }
        let logs = self.session.logs();
        let ended = self.session.finish();
        if !failed.is_empty() {
            bail!("{}", self.ports.default(&(failed + &logs)));
        }
        ended.with_context(|| format!("{}: at its end", self.page.path.display()))
    }

    fn block(&mut self, block: &Block, report: &mut PageReport) -> Result<()> {
        let text = self.rewritten(&block.text);
        let default = self.options.deadline();
        match &block.info {
            Info::Run(run) => {
                self.run(&text, run)?;
                report.ran += 1;
            }
            Info::Background(settings) => {
                let mut settings = settings.clone();
                settings.until = settings.until.map(|url| self.ports.real(&url));
                let deadline = settings.timeout.unwrap_or(default);
                let output = self.session.start_background(&text, &settings, deadline)?;
                self.output = Some((output, true));
                self.tell(&format!("{}(in the background)", block.text));
                report.ran += 1;
            }
            Info::Stop(name) => {
                let stopped = self.session.stop(name, Signal::INT)?;
                let stopped = stopped.with_context(|| format!("nothing runs as `{name}`"))?;
                self.output = Some((stopped, false));
                if !text.trim().is_empty() {
                    let ended = self.session.run(&text, default)?;
                    self.output = Some((ended.output, false));
                }
                report.ran += 1;
            }
            Info::File(name) => {
                self.session.write(name, &text)?;
                report.written += 1;
            }
            Info::Output(mode) => {
                self.compare(&block.text, *mode)?;
                report.compared += 1;
                if mode.waterfall && report.trace.is_none() {
                    report.trace = self.trace();
                }
            }
            Info::Ignore(_) | Info::Step(_) | Info::Shown => {}
        }
        Ok(())
    }

    /// A block that is waited for.
    fn run(&mut self, text: &str, run: &Run) -> Result<()> {
        let deadline = run.timeout.unwrap_or(self.options.deadline());
        let end = Instant::now() + deadline;
        loop {
            let ended = self.session.run(text, deadline)?;
            let output = self.ports.default(&printed(&ended.output));
            self.output = Some((ended.output, false));
            self.tell(&format!("{text}{output}"));
            if (ended.status != 0) == run.fails {
                return Ok(());
            }
            if !run.retry || Instant::now() >= end {
                let status = ended.status;
                let wanted = if run.fails { "to fail" } else { "to succeed" };
                bail!("it ended with status {status}, and is {wanted}. It printed:\n{output}");
            }
            std::thread::park_timeout(RETRY);
        }
    }

    /// Compares with what the last command printed; a command that still runs may need a while for it.
    fn compare(&self, shown: &str, mut mode: Output) -> Result<()> {
        let (output, grows) = self.output.as_ref().context("no command ran before it")?;
        mode.part |= grows;
        let patience = if *grows {
            OUTPUT_PATIENCE
        } else {
            Duration::ZERO
        };
        let mut found = None;
        wait_until(patience, || {
            found = difference(shown, &self.ports.default(&printed(output)), mode);
            found.is_none() || ending()
        });
        match found {
            Some(difference) => bail!("the output differs:\n{difference}"),
            None => Ok(()),
        }
    }

    /// The first trace that the last command printed, from the explorer of the page.
    fn trace(&self) -> Option<Vec<u8>> {
        let printed = printed(&self.output.as_ref()?.0);
        let id = printed.lines().find_map(|line| line.strip_prefix("trace "));
        let id = id?.split_whitespace().next()?;
        let url = format!("http://localhost:8090/api/traces/{id}");
        get(&self.ports.real(&url))
    }

    /// The block as it is run here.
    fn rewritten(&self, text: &str) -> String {
        let text = self.ports.real(text);
        if !self.options.dev {
            return text;
        }
        let debug = |line: &str| {
            if line.contains("cargo ") {
                line.replace(" --release", "")
            } else {
                line.to_owned()
            }
        };
        let lines: Vec<String> = text.split('\n').map(debug).collect();
        lines.join("\n").replace("target/release", "target/debug")
    }

    fn tell(&self, text: &str) {
        if self.options.verbose {
            say(text);
        }
    }
}

/// The variables of a page's session, without those of its ports.
fn variables(page: &Page, checkout: &Checkout, folder: &Path) -> Result<Vec<(String, String)>> {
    let mut variables: Vec<(String, String)> = checkout.variables().into();
    let programs = folder.join("bin");
    std::fs::create_dir_all(&programs)?;
    for component in &page.needs {
        if let Some((name, path)) = component.program() {
            std::os::unix::fs::symlink(path, programs.join(name))?;
        }
    }
    if page.programs {
        make_programs(&programs, checkout)?;
    }
    let path = std::env::var("PATH").unwrap_or_default();
    // What cargo tells of its work is not what the page shows.
    let set = [
        (
            "CARGO_TARGET_DIR",
            target(page, checkout, folder).display().to_string(),
        ),
        ("CARGO_TERM_QUIET", "true".to_owned()),
        ("CARGO_TERM_COLOR", "never".to_owned()),
        ("PATH", format!("{}:{path}", programs.display())),
    ];
    variables.extend(set.map(|(name, value)| (name.to_owned(), value)));
    Ok(variables)
}

/// The folder of what the page builds.
fn target(page: &Page, checkout: &Checkout, folder: &Path) -> PathBuf {
    if page.own_target {
        folder.join("target")
    } else {
        checkout.target()
    }
}

/// The programs as their images have them; each is a subcommand of `throughline` too.
fn make_programs(folder: &Path, checkout: &Checkout) -> Result<()> {
    let profile = if checkout.dev { "debug" } else { "release" };
    let program = checkout.target().join(profile).join("throughline");
    std::os::unix::fs::symlink(&program, folder.join("throughline"))?;
    for part in ["gateway", "model-service", "feature-store", "explorer"] {
        let script = format!("#!/bin/sh\nexec throughline {part} \"$@\"\n");
        let path = folder.join(part);
        std::fs::write(&path, script)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode)?;
    }
    Ok(())
}
