//! A cluster: every command goes to the node that serves its slot, those for one node in one
//! pipeline.
//!
//! The routing is ours because neither client's passes the tests: docs/adr/0008-redis-client.md.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::{join_all, select_ok};
use parking_lot::Mutex;
use redis::{Cmd, RedisError, RedisResult, ServerErrorKind, Value};

use super::command::KeyedCommand;
use super::failure::RedisFailure;
use super::node::{Connector, RedisNode, Replies, TimeLimit};
use super::slot_map::SlotMap;
use super::slots::{self, Address, Redirect};

/// The nodes of a cluster, as far as they are known.
pub(super) struct RedisCluster {
    /// The nodes that the configuration names.
    seeds: Vec<Address>,
    connector: Connector,
    map: Mutex<SlotMap>,
    /// Held by the call that refreshes the map.
    refreshing: tokio::sync::Mutex<()>,
}

/// A command without a reply yet: its index, and the node that an `ASK` named instead of the
/// slot's.
struct Unanswered {
    index: usize,
    ask: Option<Address>,
}

/// What one call has so far: replies by index, and the commands that are still to be sent.
struct Exchange {
    replies: Vec<Option<RedisResult<Value>>>,
    pending: Vec<Unanswered>,
}

/// The commands that go to one node together.
struct NodeBatch {
    address: Address,
    node: Arc<RedisNode>,
    commands: Vec<Unanswered>,
}

/// Sends of one command until its reply counts: a moved slot takes two, one that moves just then a
/// few more.
const ROUNDS: usize = 8;

impl RedisCluster {
    pub(super) fn new(seeds: Vec<Address>, connector: Connector) -> Self {
        Self {
            seeds,
            connector,
            map: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
        }
    }

    /// Sends the commands at once and waits for all replies.
    pub(super) async fn send(
        &self,
        commands: &[KeyedCommand],
        limit: TimeLimit,
    ) -> Result<Replies, RedisFailure> {
        let mut exchange = Exchange::new(commands.len());
        let mut refreshed = false;
        for _ in 0..ROUNDS {
            let (generation, unusable) = self.state();
            if unusable {
                self.refresh(generation, limit).await?;
            }
            let (batches, unserved) =
                self.route(commands, std::mem::take(&mut exchange.pending))?;
            if !unserved.is_empty() {
                // A node may be taking the slots over. If not, the other nodes would give this
                // error.
                if refreshed {
                    return Err(no_node_serves());
                }
                refreshed = true;
                self.refresh(generation, limit).await?;
            }
            exchange.pending = unserved;
            let (moved, lost) = self
                .send_batches(batches, commands, limit, &mut exchange)
                .await?;
            if let Some(failure) = lost {
                // Another node may have taken over. After a time-out no time is left to ask for it.
                if refreshed || matches!(failure, RedisFailure::TimedOut(_)) {
                    self.map.lock().suspect = true;
                    return Err(failure);
                }
                refreshed = true;
                self.refresh(generation, limit).await?;
            } else if moved && self.map.lock().is_old() {
                self.refresh(generation, limit).await?;
            }
            if exchange.pending.is_empty() {
                return Ok(exchange.finish());
            }
        }
        Err(no_node_serves())
    }

    /// Sends the batches and records their replies. Returns whether a slot has moved for good, and
    /// the failure of a node that did not answer.
    async fn send_batches(
        &self,
        batches: Vec<NodeBatch>,
        commands: &[KeyedCommand],
        limit: TimeLimit,
        exchange: &mut Exchange,
    ) -> Result<(bool, Option<RedisFailure>), RedisFailure> {
        let sent = batches.into_iter().map(|batch| batch.send(commands, limit));
        let (mut moved, mut lost) = (false, None);
        for (batch, replies) in join_all(sent).await {
            match replies {
                Ok(replies) => moved |= self.record(batch, replies, exchange)?,
                Err(failure) => {
                    lost = Some(failure);
                    let indices = batch.commands.iter().map(|command| command.index);
                    exchange.pending.extend(indices.map(Unanswered::by_slot));
                }
            }
        }
        Ok((moved, lost))
    }

    /// The batch of each node, and the commands whose slot no node serves.
    fn route(
        &self,
        commands: &[KeyedCommand],
        pending: Vec<Unanswered>,
    ) -> Result<(Vec<NodeBatch>, Vec<Unanswered>), RedisFailure> {
        let mut map = self.map.lock();
        let mut batches: BTreeMap<usize, NodeBatch> = BTreeMap::new();
        let mut unserved = Vec::new();
        for command in pending {
            let position = match &command.ask {
                Some(address) => Some(map.position(address, &self.connector)?),
                None => map.owners[commands[command.index].slot].map(usize::from),
            };
            let Some(position) = position else {
                unserved.push(command);
                continue;
            };
            let (address, node) = &map.nodes[position];
            batches
                .entry(position)
                .or_insert_with(|| NodeBatch::new(address, node))
                .commands
                .push(command);
        }
        Ok((batches.into_values().collect(), unserved))
    }

    /// Records the replies of a batch; those that are redirections make their commands pending
    /// again. Returns whether a slot has moved for good.
    fn record(
        &self,
        batch: NodeBatch,
        replies: Replies,
        exchange: &mut Exchange,
    ) -> Result<bool, RedisFailure> {
        let mut moved = false;
        for (Unanswered { index, .. }, reply) in batch.commands.into_iter().zip(replies) {
            let redirect = match &reply {
                Ok(_) => None,
                Err(error) => slots::redirect(error, &batch.address),
            };
            match redirect {
                Some(Redirect::Moved(slot, address)) => {
                    moved = true;
                    let mut map = self.map.lock();
                    let position = map.position(&address, &self.connector)?;
                    map.owners[slot] = u16::try_from(position).ok();
                    exchange.pending.push(Unanswered::by_slot(index));
                }
                Some(Redirect::Ask(address)) => exchange.pending.push(Unanswered {
                    index,
                    ask: Some(address),
                }),
                None => exchange.replies[index] = Some(reply),
            }
        }
        Ok(moved)
    }

    /// Asks the cluster which node serves which slots, unless another call did so since
    /// `generation`.
    async fn refresh(&self, generation: u64, limit: TimeLimit) -> Result<(), RedisFailure> {
        let _refreshing = limit.wait(self.refreshing.lock()).await?;
        if self.state().0 != generation {
            return Ok(());
        }
        let asked = self.map.lock().nodes_to_ask(&self.seeds, &self.connector)?;
        let requests = asked
            .into_iter()
            .map(|(address, node)| Box::pin(read_slots(address, node, limit)));
        let (ranges, _) = select_ok(requests).await?;
        self.map.lock().refresh(ranges, &self.connector)
    }

    /// The generation of the map, and whether it must be refreshed before it is used.
    fn state(&self) -> (u64, bool) {
        let map = self.map.lock();
        (map.generation, map.is_unusable())
    }
}

impl Unanswered {
    fn by_slot(index: usize) -> Self {
        Self { index, ask: None }
    }
}

impl Exchange {
    fn new(commands: usize) -> Self {
        Self {
            replies: (0..commands).map(|_| None).collect(),
            pending: (0..commands).map(Unanswered::by_slot).collect(),
        }
    }

    fn finish(self) -> Replies {
        self.replies
            .into_iter()
            .map(|reply| reply.unwrap_or_else(|| Err(missing_reply())))
            .collect()
    }
}

impl NodeBatch {
    fn new(address: &Address, node: &Arc<RedisNode>) -> Self {
        Self {
            address: address.clone(),
            node: Arc::clone(node),
            commands: Vec::new(),
        }
    }

    async fn send(
        self,
        commands: &[KeyedCommand],
        limit: TimeLimit,
    ) -> (Self, Result<Replies, RedisFailure>) {
        let asking = redis::cmd("ASKING");
        let mut sent: Vec<&Cmd> = Vec::with_capacity(self.commands.len());
        for command in &self.commands {
            if command.ask.is_some() {
                sent.push(&asking);
            }
            sent.push(&commands[command.index].cmd);
        }
        let replies = self.node.send(&sent, limit).await;
        let replies = replies.map(|replies| self.without_asking(replies));
        (self, replies)
    }

    /// Drops the reply to each `ASKING`, which stands before that of its command.
    fn without_asking(&self, replies: Replies) -> Replies {
        let mut replies = replies.into_iter();
        self.commands
            .iter()
            .map(|command| {
                replies
                    .nth(usize::from(command.ask.is_some()))
                    .unwrap_or_else(|| Err(missing_reply()))
            })
            .collect()
    }
}

async fn read_slots(
    address: Address,
    node: Arc<RedisNode>,
    limit: TimeLimit,
) -> Result<Vec<(usize, usize, Address)>, RedisFailure> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let reply = node.send(&[&command], limit).await?.remove(0)?;
    slots::ranges(&reply, &address)
        .filter(|ranges| !ranges.is_empty())
        .ok_or_else(no_node_serves)
}

/// No node serves the slot, or they redirect to each other.
fn no_node_serves() -> RedisFailure {
    RedisError::from((
        ServerErrorKind::ClusterDown.into(),
        "no node of the cluster serves the slot",
    ))
    .into()
}

fn missing_reply() -> RedisError {
    (
        redis::ErrorKind::UnexpectedReturnType,
        "a command has no reply",
    )
        .into()
}
