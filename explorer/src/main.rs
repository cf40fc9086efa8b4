//! The `explorer` program, for a container of its own.

use std::process::ExitCode;

use clap::Parser;

/// Receives OTLP/HTTP into bounded memory and shows traces, logs and metrics of one machine.
#[derive(Parser)]
#[command(name = "explorer", version)]
struct Cli {
    #[command(flatten)]
    config: explorer::Config,
}

fn main() -> ExitCode {
    explorer::main(runtime::arguments::<Cli>().config)
}
