//! The gateway as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use runtime::PartCommand;

/// Throughline's gateway: answers predictions from its store, or from a model service.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: gateway::Config,
    #[command(subcommand)]
    command: Option<PartCommand>,
}

fn main() -> ExitCode {
    let Arguments { config, command } = runtime::arguments::<Arguments>();
    match command {
        Some(PartCommand::Healthcheck(options)) => {
            runtime::healthcheck(&gateway::PART, config.listen, &options)
        }
        None => gateway::main(config),
    }
}
