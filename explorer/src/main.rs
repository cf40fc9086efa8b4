//! The `explorer` program, for a container of its own.

use std::process::ExitCode;

use clap::Parser;
use runtime::PartCommand;

/// Receives OTLP/HTTP into bounded memory and shows traces, logs and metrics of one machine.
#[derive(Parser)]
#[command(name = "explorer", version)]
struct Cli {
    #[command(flatten)]
    config: explorer::Config,
    #[command(subcommand)]
    command: Option<PartCommand>,
}

fn main() -> ExitCode {
    let Cli { config, command } = runtime::arguments::<Cli>();
    match command {
        Some(PartCommand::Healthcheck(options)) => {
            runtime::healthcheck(&explorer::PART, config.listen, &options)
        }
        None => explorer::main(config),
    }
}
