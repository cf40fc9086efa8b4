//! The model service as a program of its own, for its container image.

use std::process::ExitCode;

use clap::Parser;
use runtime::PartCommand;

/// Serves Candle models by the Open Inference Protocol V2
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: model_service::Config,
    #[command(subcommand)]
    command: Option<PartCommand>,
}

fn main() -> ExitCode {
    // First of all: it begins this process anew.
    model_service::threads::set();
    let Arguments { config, command } = runtime::arguments::<Arguments>();
    match command {
        Some(PartCommand::Healthcheck(options)) => {
            runtime::healthcheck(&model_service::PART, config.listen, &options)
        }
        None => model_service::main(config),
    }
}
