//! `throughline up`: the whole system on one machine, each part a process, with a sample of what it does.

mod data_dir;
mod part;
mod sample;
mod system;

use std::time::Duration;

use anyhow::Context;
use runtime::Shutdown;

pub(crate) use data_dir::write_wine_csv;
pub(crate) use system::System;

use crate::cli::UpOptions;
use crate::screen;

/// Starts the system, shows the sample, and stays until a signal; whatever happens, the parts are stopped in order.
pub(crate) fn main(options: &UpOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::of_process(false);
        let mut system = System::new(options)?;
        let outcome = tokio::select! {
            outcome = run(&mut system, options) => outcome,
            () = shutdown.wait() => Ok(()),
        };
        screen::say("\nstopping: requests in flight finish, telemetry leaves");
        let clean = system.stop().await;
        outcome.and_then(|()| {
            if clean {
                Ok(())
            } else {
                anyhow::bail!("not every part stopped by itself")
            }
        })
    })
}

async fn run(system: &mut System, options: &UpOptions) -> anyhow::Result<()> {
    system.start().await?;
    let outcome = sample::run(system).await.context("the sample failed");
    if options.once {
        return outcome;
    }
    // Somebody who stays wants the system even when the sample disappointed.
    if let Err(error) = outcome {
        screen::warn(format!("{error:#}"));
    }
    screen::say(system.addresses()?);
    system.watch().await
}

/// How long all parts together may take to drain before they are killed: the design gives five seconds to the exit.
const PATIENCE: Duration = Duration::from_millis(4500);
