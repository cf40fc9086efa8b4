//! The command line: starts everything on one machine, trains, prints traces, measures.
//!
//! `throughline up` runs each part as a process of its own: this same program with a subcommand. So
//! every part has its own pid, `service.name` and resource.

mod address;
mod bench;
mod check;
mod cli;
mod client;
mod data_sets;
mod explorer_client;
mod feedback;
mod gateway_client;
mod learn;
mod load;
mod mcp;
mod model;
mod model_files;
mod python;
mod repository_args;
mod rollback;
mod rules;
mod runs;
mod sample;
mod screen;
mod synthetic;
mod traces;
mod train;
mod up;
mod variants;

use std::process::ExitCode;

use runtime::PartCommand;

use crate::cli::{Cli, Command, FeatureStoreCommand};

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let revision = env!("THROUGHLINE_REVISION");
    if !revision.is_empty() {
        telemetry::set_revision(revision);
    }
    let command = runtime::arguments::<Cli>().command.unwrap_or_default();
    if computes(&command) {
        // Before anything else: it begins this process anew.
        model_service::threads::set();
    }
    match command {
        Command::Up(args) => screen::exit_code(up::main(&args)),
        Command::Train(args) => screen::exit_code(train::main(&args)),
        Command::Runs(args) => screen::exit_code(runs::main(&args)),
        Command::Rollback(args) => screen::exit_code(rollback::main(&args)),
        Command::Model(command) => screen::exit_code(model::main(&command)),
        Command::PythonSetup(args) => screen::exit_code(python::main(&args)),
        Command::TextSetup(args) => screen::exit_code(python::encoder::main(&args)),
        Command::Sample(args) => screen::exit_code(sample::main(&args)),
        Command::Variants(args) => screen::exit_code(variants::main(&args)),
        Command::Trace(args) => screen::exit_code(traces::trace(&args)),
        Command::Traces(args) => screen::exit_code(traces::list(&args)),
        Command::Rules(args) => screen::exit_code(rules::main(&args)),
        Command::Mcp(args) => screen::exit_code(mcp::main(&args)),
        Command::Learn(args) => screen::exit_code(learn::main(&args)),
        Command::Bench(args) => screen::exit_code(bench::main(&args)),
        Command::Check(args) => screen::exit_code(check::main(&args)),
        Command::Feedback(args) => screen::exit_code(feedback::main(&args)),
        Command::Load(args) => screen::exit_code(load::main(&args)),
        Command::Gateway { config, command } => match command {
            Some(PartCommand::Healthcheck(options)) => {
                runtime::healthcheck(&gateway::PART, config.listen, &options)
            }
            None => gateway::main(*config),
        },
        Command::ApiKey(command) => gateway::keys::create::main(&command),
        Command::ModelService { config, command } => match command {
            Some(PartCommand::Healthcheck(options)) => {
                runtime::healthcheck(&model_service::PART, config.listen, &options)
            }
            None => model_service::main(*config),
        },
        Command::FeatureStore { config, command } => feature_store(*config, command),
        Command::Explorer { config, command } => match command {
            Some(PartCommand::Healthcheck(options)) => {
                runtime::healthcheck(&explorer::PART, config.listen, &options)
            }
            None => explorer::main(*config),
        },
    }
}

/// Whether this process itself computes with models. `up` sets the variable for its parts.
fn computes(command: &Command) -> bool {
    match command {
        Command::Train(_) | Command::Model(_) => true,
        Command::ModelService { command, .. } => command.is_none(),
        _ => false,
    }
}

fn feature_store(config: feature_store::Config, command: Option<FeatureStoreCommand>) -> ExitCode {
    match command {
        Some(FeatureStoreCommand::Materialize(args)) => feature_store::materialize_main(&args),
        Some(FeatureStoreCommand::Delete(args)) => feature_store::delete_main(&args),
        Some(FeatureStoreCommand::Part(PartCommand::Healthcheck(options))) => {
            runtime::healthcheck(&feature_store::PART, config.listen, &options)
        }
        None => feature_store::main(config),
    }
}
