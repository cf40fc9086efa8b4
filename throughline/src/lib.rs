//! The command line: starts everything on one machine, trains, prints traces, measures.
//!
//! `throughline up` runs each part as a process of its own: this same program with a subcommand. So
//! every part has its own pid, `service.name` and resource.

mod bench;
mod cli;
mod client;
mod explorer_client;
mod model_files;
mod python;
mod screen;
mod traces;
mod train;
mod up;
mod variants;
mod wine_data;

use std::process::ExitCode;

use crate::cli::{Cli, Command, FeatureStoreCommand};

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let revision = env!("THROUGHLINE_REVISION");
    if !revision.is_empty() {
        telemetry::set_revision(revision);
    }
    match runtime::arguments::<Cli>().command.unwrap_or_default() {
        Command::Up(args) => screen::exit_code(up::main(&args)),
        Command::Train(args) => screen::exit_code(train::main(&args)),
        Command::PythonSetup(args) => screen::exit_code(python::main(&args)),
        Command::Variants(args) => screen::exit_code(variants::main(&args)),
        Command::Trace(args) => screen::exit_code(traces::trace(&args)),
        Command::Traces(args) => screen::exit_code(traces::list(&args)),
        Command::Bench(args) => screen::exit_code(bench::main(&args)),
        Command::Gateway(config) => gateway::main(*config),
        Command::ApiKey(command) => gateway::keys::create::main(&command),
        Command::ModelService(config) => model_service::main(*config),
        Command::FeatureStore {
            config,
            command: None,
        } => feature_store::main(*config),
        Command::FeatureStore {
            command: Some(FeatureStoreCommand::Materialize(args)),
            ..
        } => feature_store::materialize_main(&args),
        Command::FeatureStore {
            command: Some(FeatureStoreCommand::Delete(args)),
            ..
        } => feature_store::delete_main(&args),
        Command::Explorer(config) => explorer::main(*config),
    }
}
