//! Sends commands to one server or a cluster within the time limit of a call, and logs when an
//! outage begins and ends.

use std::time::{Duration, Instant};

use redis::Cmd;
use runtime::Outage;

use super::cluster::RedisCluster;
use super::command::KeyedCommand;
use super::failure::RedisFailure;
use super::node::{RedisNode, Replies, TimeLimit};
use crate::outage_log::OutageLog;

/// One server, or a cluster.
pub(super) enum Topology {
    Single(RedisNode),
    Cluster(RedisCluster),
}

/// The connection to the server or the cluster.
pub(super) struct RedisConnection {
    topology: Topology,
    /// The address for log lines, without secrets.
    address: String,
    /// The time for one call, retries included.
    timeout: Duration,
    outage: Outage,
    log: OutageLog,
}

impl RedisConnection {
    pub(super) fn new(
        topology: Topology,
        address: String,
        timeout: Duration,
        outage: Outage,
    ) -> Self {
        Self {
            topology,
            address,
            timeout,
            outage,
            log: OutageLog::default(),
        }
    }

    /// Sends the commands at once and waits for all replies. A command may be sent twice, so it
    /// must be idempotent.
    pub(super) async fn send(&self, commands: Vec<KeyedCommand>) -> Result<Replies, RedisFailure> {
        let limit = TimeLimit::after(self.timeout);
        let replies = match &self.topology {
            Topology::Single(node) => {
                let commands: Vec<&Cmd> = commands.iter().map(|command| &command.cmd).collect();
                node.send(&commands, limit).await
            }
            Topology::Cluster(cluster) => {
                limit.wait(cluster.send(&commands, limit)).await.flatten()
            }
        };
        match &replies {
            Ok(_) => self.record_success(),
            Err(failure) => self.record_failure(failure),
        }
        replies
    }

    fn record_success(&self) {
        let address = &self.address;
        if self.outage.end() && self.log.ended() {
            tracing::info!(name: "feature_store.backend_reachable", "Redis at {address} answers again");
        }
    }

    fn record_failure(&self, failure: &RedisFailure) {
        let address = &self.address;
        let cause = || runtime::without_secrets(&runtime::chain(failure));
        let first = self
            .outage
            .begin(|| format!("Redis at {address} does not answer"));
        if let Some(more) = self.log.failed(first, Instant::now()) {
            let (cause, error_type) = (cause(), failure.error_type());
            tracing::warn!(
                name: "feature_store.backend_unreachable",
                { "error.type" = error_type, error = cause },
                "Redis at {address} does not answer ({cause}); every call tries again{more}"
            );
        }
    }
}
