//! The options of a distributed training.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// Training by several processes.
#[derive(Clone, Debug, Args)]
pub(crate) struct RanksArgs {
    /// Train with this many processes on JAX, each on its share of every mini batch (only
    /// `wine_quality`, which is the default here)
    #[arg(long, value_name = "N", conflicts_with_all = ["table", "cross_validate", "encoder"], value_parser = clap::value_parser!(u64).range(1..=64))]
    workers: Option<u64>,
    /// Environment with JAX, as `python-setup --extra jax` makes it [default: python in the data
    /// folder]
    #[arg(long, env = "THROUGHLINE_PYTHON_ENVIRONMENT", value_name = "DIR")]
    pub(crate) python_environment: Option<PathBuf>,
    /// The longest that the workers may take for an epoch; then the training fails
    #[arg(long, default_value = "60s", value_parser = runtime::duration, value_name = "TIME")]
    pub(crate) epoch_timeout: Duration,
    /// Be only this one of the workers, from 0; the others run elsewhere. Number 0 writes the version
    #[arg(long, value_name = "N", requires_all = ["workers", "coordinator"])]
    pub(crate) rank: Option<usize>,
    /// Where the workers meet: host and port of number 0 [default: a free port of this machine]
    #[arg(long, value_name = "HOST:PORT", requires = "rank")]
    pub(crate) coordinator: Option<String>,
    /// The address that number 0 binds for this [default: the port of --coordinator, on all
    /// addresses]
    #[arg(long, value_name = "ADDRESS:PORT", requires = "coordinator")]
    pub(crate) coordinator_bind: Option<String>,
    /// Slow a worker down on purpose, to see it in the trace: its number, and milliseconds per step
    #[arg(long, value_name = "RANK=MS", requires = "workers", hide = true, value_parser = slow)]
    pub(crate) slow_rank: Option<(usize, u64)>,
}

impl RanksArgs {
    /// How many workers are wanted; `None` is the trainer in Rust.
    pub(crate) fn count(&self) -> Option<usize> {
        let count = self.workers.map(usize::try_from);
        count.map(|count| count.unwrap_or(usize::MAX))
    }
}

fn slow(text: &str) -> Result<(usize, u64), String> {
    let parts = text.split_once('=');
    let parsed = parts.and_then(|(rank, ms)| Some((rank.parse().ok()?, ms.parse().ok()?)));
    parsed.ok_or_else(|| "a rank and milliseconds are needed, such as 1=20".to_owned())
}
