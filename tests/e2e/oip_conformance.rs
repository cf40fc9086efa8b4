//! One suite of the Open Inference Protocol for everything here that speaks it: the model service
//! in Rust, the Python worker, and the gateway in front of each.
//!
//! The cases are the same for all. Where two servers differ on purpose, the difference is a field
//! of [`Expectations`] and a line of docs/model-services.md.

mod binary;
mod bodies;
mod data;
mod encodings;
mod entities;
mod heads;
mod json;
mod metadata;
mod refusals;
mod target;
mod texts;

use anyhow::{Result, ensure};

use crate::system::PythonSystem;
use data::add_unusable_wines;
use target::{Expectations, Target};

/// One case: it asks the target and says what is wrong with the answers.
type Case = fn(&Target<'_>) -> Result<()>;

/// All cases on one target; all failures are reported together.
fn check(target: &Target<'_>) -> Result<()> {
    let all: Vec<(&str, Case)> = [
        metadata::CASES,
        json::CASES,
        bodies::CASES,
        binary::CASES,
        encodings::CASES,
        entities::CASES,
        heads::CASES,
        refusals::CASES,
        texts::CASES,
    ]
    .concat();
    let failed = all
        .iter()
        .filter_map(|(name, case)| Some(format!("- {name}: {:#}", case(target).err()?)));
    let failed: Vec<_> = failed.collect();
    ensure!(
        failed.is_empty(),
        "{} of {} cases fail:\n{}",
        failed.len(),
        all.len(),
        failed.join("\n")
    );
    Ok(())
}

fn system() -> Result<&'static PythonSystem> {
    let system = PythonSystem::shared();
    add_unusable_wines(system)?;
    Ok(system)
}

#[test]
fn the_model_service_in_rust() -> Result<()> {
    let system = system()?;
    check(&Target::new(
        &system.urls.model_service,
        Expectations::RUST,
        None,
    ))
}

#[test]
fn the_python_worker() -> Result<()> {
    let system = system()?;
    check(&Target::new(
        &system.urls.worker,
        Expectations::PYTHON,
        None,
    ))
}

#[test]
fn the_gateway_in_front_of_the_model_service_in_rust() -> Result<()> {
    let system = system()?;
    check(&Target::new(
        &system.urls.gateway,
        Expectations::RUST.behind_the_gateway(),
        Some("primary"),
    ))
}

#[test]
fn the_gateway_in_front_of_the_python_worker() -> Result<()> {
    let system = system()?;
    check(&Target::new(
        &system.urls.gateway,
        Expectations::PYTHON.behind_the_gateway(),
        Some("canary"),
    ))
}
