//! The way to the server or the cluster: the time limit of a call, and a word in the log when nobody answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::Cmd;

use super::cluster::Cluster;
use super::failure::Failure;
use super::node::{Answers, Deadline, Node};
use super::slots;

/// One server, or a cluster.
pub(super) enum Servers {
    One(Node),
    Cluster(Cluster),
}

/// A command and the slot of its key.
pub(super) struct Command {
    pub(super) slot: usize,
    pub(super) cmd: Cmd,
}

/// The way to the servers.
pub(super) struct Link {
    servers: Servers,
    /// For log lines.
    name: String,
    /// For one call with all that belongs to it.
    patience: Duration,
    down: AtomicBool,
}

impl Command {
    pub(super) fn new(key: &str, cmd: Cmd) -> Self {
        Self {
            slot: slots::slot(key.as_bytes()),
            cmd,
        }
    }
}

impl Link {
    pub(super) fn new(servers: Servers, name: String, patience: Duration) -> Self {
        Self {
            servers,
            name,
            patience,
            down: AtomicBool::new(false),
        }
    }

    /// Sends the commands at once and waits for all answers. Sending them twice must do no harm.
    pub(super) async fn send(&self, commands: Vec<Command>) -> Result<Answers, Failure> {
        let deadline = Deadline::after(self.patience);
        let outcome = match &self.servers {
            Servers::One(node) => {
                let commands: Vec<&Cmd> = commands.iter().map(|command| &command.cmd).collect();
                node.send(&commands, deadline).await
            }
            Servers::Cluster(cluster) => deadline
                .wait(cluster.send(&commands, deadline))
                .await
                .flatten(),
        };
        self.tell(outcome.as_ref().err());
        outcome
    }

    /// A line in the log when the servers go and when they are back, not one per call.
    fn tell(&self, failure: Option<&Failure>) {
        let name = &self.name;
        match failure {
            None if self.down.load(Ordering::Relaxed)
                && self.down.swap(false, Ordering::Relaxed) =>
            {
                tracing::info!(name: "feature_store.backend_reachable", "Redis at {name} answers again");
            }
            Some(failure) if !self.down.swap(true, Ordering::Relaxed) => {
                let (cause, error_type) = (runtime::chain(failure), failure.error_type());
                tracing::warn!(
                    name: "feature_store.backend_unreachable",
                    { "error.type" = error_type, error = cause },
                    "Redis at {name} does not answer ({cause}); every call tries again"
                );
            }
            _ => {}
        }
    }
}
