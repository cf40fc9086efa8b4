//! `throughline up`: the whole system on one machine, each part a process, with sample requests.

mod child;
mod data_dir;
mod local_system;

use anyhow::{Context, anyhow};
use runtime::Shutdown;
use tokio::sync::mpsc;

pub(crate) use child::remove_foreign;
pub(crate) use local_system::LocalSystem;

use crate::cli::UpArgs;
use crate::{sample, screen};

/// Starts the system, runs the sample, and stays until a signal or the death of a part. On every way
/// out the parts are stopped in order.
pub(crate) fn main(args: &UpArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::of_process(false);
        let (deaths, mut dead) = mpsc::unbounded_channel();
        let mut system = LocalSystem::new(args, deaths)?;
        let outcome = tokio::select! {
            // A death explains why the rest fails, so it is looked at first.
            biased;
            Some(death) = dead.recv() => Err(anyhow!(death)),
            outcome = run(&mut system, args) => outcome,
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

async fn run(system: &mut LocalSystem, args: &UpArgs) -> anyhow::Result<()> {
    system.start().await?;
    let outcome = sample::run(&system.sample_target()?)
        .await
        .context("the sample failed");
    if args.once {
        return outcome;
    }
    // A user who stays wants the system even if the sample failed.
    if let Err(error) = outcome {
        screen::warn(format!("{error:#}"));
    }
    screen::say(system.addresses()?);
    std::future::pending().await
}
