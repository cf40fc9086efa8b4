//! The command line: starts everything on one machine, trains, shows traces, measures.
//!
//! `throughline up` runs each part as a process of its own by starting this same program with a subcommand, so that every
//! part has its own pid, `service.name` and resource.

mod bench;
mod cli;
mod explorer_api;
mod python;
mod screen;
mod traces;
mod train;
mod up;
mod variants;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, FeatureStoreCommand};

/// Parses the command line and runs what it asks for.
pub fn main() -> ExitCode {
    let revision = env!("THROUGHLINE_REVISION");
    if !revision.is_empty() {
        telemetry::set_revision(revision);
    }
    match Cli::parse().command.unwrap_or_default() {
        Command::Up(options) => screen::exit_code(up::main(&options)),
        Command::Train(options) => screen::exit_code(train::main(&options)),
        Command::PythonSetup(options) => screen::exit_code(python::main(&options)),
        Command::Variants(options) => screen::exit_code(variants::main(&options)),
        Command::Trace(options) => screen::exit_code(traces::trace(&options)),
        Command::Traces(options) => screen::exit_code(traces::list(&options)),
        Command::Bench(options) => screen::exit_code(bench::main(&options)),
        Command::Gateway(config) => gateway::main(*config),
        Command::ModelService(config) => model_service::main(*config),
        Command::FeatureStore {
            config,
            command: None,
        } => feature_store::main(*config),
        Command::FeatureStore {
            command: Some(FeatureStoreCommand::Materialize(options)),
            ..
        } => feature_store::materialize_main(&options),
        Command::Explorer(config) => explorer::main(*config),
    }
}
