//! The gateway as a process of its own.

use std::process::ExitCode;

use clap::Parser;

/// Throughline's gateway: answers predictions from its store, or from a model service.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: gateway::Config,
}

fn main() -> ExitCode {
    gateway::main(runtime::arguments::<Arguments>().config)
}
