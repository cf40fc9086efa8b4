//! The model service as a program of its own, for its container image.

use std::process::ExitCode;

use clap::Parser;

/// Serves Candle models by the Open Inference Protocol V2
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: model_service::Config,
}

fn main() -> ExitCode {
    model_service::main(runtime::arguments::<Arguments>().config)
}
