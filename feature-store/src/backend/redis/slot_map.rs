//! The nodes of a cluster and the slots that each of them serves, as far as the cluster has said.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::failure::RedisFailure;
use super::node::{Connector, RedisNode};
use super::slots::{Address, SLOTS};

#[derive(Default)]
pub(super) struct SlotMap {
    /// For each slot the position of its node; empty before the first refresh.
    pub(super) owners: Vec<Option<u16>>,
    pub(super) nodes: Vec<(Address, Arc<RedisNode>)>,
    /// Counts refreshes, so that concurrent callers share one.
    pub(super) generation: u64,
    refreshed_at: Option<Instant>,
    /// A node did not answer in time. By the next call another one may serve its slots.
    pub(super) suspect: bool,
    /// Counts `CLUSTER SLOTS` requests, so that each goes to other nodes.
    requests: usize,
}

/// Nodes that are asked for the slots at the same time. The first reply wins, so that a node that
/// hangs delays nobody.
const ASKED_AT_ONCE: usize = 4;

/// A redirection refreshes the map at most this often.
const FRESH: Duration = Duration::from_secs(1);

impl SlotMap {
    /// The position of a node, which is added if it is new.
    pub(super) fn position(
        &mut self,
        address: &Address,
        connector: &Connector,
    ) -> Result<usize, RedisFailure> {
        if let Some(position) = self.nodes.iter().position(|(known, _)| known == address) {
            return Ok(position);
        }
        self.nodes
            .push((address.clone(), Arc::new(connector.node(address)?)));
        Ok(self.nodes.len() - 1)
    }

    /// The nodes to ask for the slots: some of those that are known and of the seeds, others every
    /// time.
    pub(super) fn nodes_to_ask(
        &mut self,
        seeds: &[Address],
        connector: &Connector,
    ) -> Result<Vec<(Address, Arc<RedisNode>)>, RedisFailure> {
        for seed in seeds {
            self.position(seed, connector)?;
        }
        let count = self.nodes.len();
        let first = self.requests % count;
        self.requests += 1;
        Ok((0..count.min(ASKED_AT_ONCE))
            .map(|next| self.nodes[(first + next) % count].clone())
            .collect())
    }

    /// Adopts the reply of the cluster. Nodes without slots are dropped; those that stay keep their
    /// connections.
    pub(super) fn refresh(
        &mut self,
        ranges: Vec<(usize, usize, Address)>,
        connector: &Connector,
    ) -> Result<(), RedisFailure> {
        let known: HashMap<Address, Arc<RedisNode>> =
            std::mem::take(&mut self.nodes).into_iter().collect();
        self.owners.clear();
        self.owners.resize(SLOTS, None);
        for (first, last, address) in ranges {
            if let Some(node) = known.get(&address)
                && !self.nodes.iter().any(|(held, _)| *held == address)
            {
                self.nodes.push((address.clone(), Arc::clone(node)));
            }
            let position = self.position(&address, connector)?;
            self.owners[first..=last].fill(u16::try_from(position).ok());
        }
        self.generation += 1;
        self.suspect = false;
        self.refreshed_at = Some(Instant::now());
        Ok(())
    }

    /// Whether the map must be refreshed before it is used.
    pub(super) fn is_unusable(&self) -> bool {
        self.suspect || self.owners.is_empty()
    }

    pub(super) fn is_old(&self) -> bool {
        self.refreshed_at.is_none_or(|at| at.elapsed() > FRESH)
    }
}
