//! The program `feature-store`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use feature_store::Config;
use feature_store::delete::DeleteConfig;
use feature_store::materialize::MaterializeConfig;
use runtime::PartCommand;

/// Online features by entity over Feast's HTTP protocol
#[derive(Parser)]
#[command(
    name = "feature-store",
    version,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(flatten)]
    config: Config,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Write a file of rows into a feature view
    Materialize(MaterializeConfig),
    /// Delete the rows of entities, such as those with an event time in the far future
    Delete(DeleteConfig),
    #[command(flatten)]
    Part(PartCommand),
}

fn main() -> ExitCode {
    let arguments: Arguments = runtime::arguments();
    match arguments.command {
        Some(Command::Materialize(config)) => feature_store::materialize_main(&config),
        Some(Command::Delete(config)) => feature_store::delete_main(&config),
        Some(Command::Part(PartCommand::Healthcheck(options))) => {
            runtime::healthcheck(&feature_store::PART, arguments.config.listen, &options)
        }
        None => feature_store::main(arguments.config),
    }
}
