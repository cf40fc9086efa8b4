//! The gateway as a process of its own.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gateway::keys::create::{self, KeyCommand};
use runtime::PartCommand;

/// Throughline's gateway: answers predictions from its store, or from a model service.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    config: gateway::Config,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Part(PartCommand),
    /// Make the API keys that `--api-keys` wants
    #[command(subcommand)]
    ApiKey(KeyCommand),
}

fn main() -> ExitCode {
    let Arguments { config, command } = runtime::arguments::<Arguments>();
    match command {
        Some(Command::Part(PartCommand::Healthcheck(options))) => {
            runtime::healthcheck(&gateway::PART, config.listen, &options)
        }
        Some(Command::ApiKey(command)) => create::main(&command),
        None => gateway::main(config),
    }
}
