//! A cluster: every command goes to the node that has its slot, those of one node together.
//!
//! The client has a cluster connection of its own. It takes commands to the nodes one at a time, which for a batch costs two to
//! four times the CPU time of a pipeline, and in version 1.8.1 it stopped answering while slots moved, as the test
//! `slots_move_while_they_are_read_and_written` showed. So only its connections are used, and the routing is here.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{join_all, select_ok};
use redis::{Cmd, RedisError, RedisResult, ServerErrorKind, Value};

use super::failure::Failure;
use super::link::Command;
use super::node::{Answers, Deadline, Node};
use super::settings::Template;
use super::slots::{self, Address, Redirect, SLOTS};

/// The nodes of a cluster, as far as they are known.
pub(super) struct Cluster {
    /// The nodes that the configuration names.
    seeds: Vec<Address>,
    template: Template,
    map: Mutex<Map>,
    /// Held by the one who asks for the slots.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Map {
    /// For each slot the position of its node; empty before the first answer of the cluster.
    owners: Vec<Option<u16>>,
    nodes: Vec<(Address, Arc<Node>)>,
    /// Counts the answers that made this map, and when the last one came.
    generation: u64,
    made: Option<Instant>,
    /// A node did not answer in time. By the next call another one may have its slots.
    doubtful: bool,
    /// Counts questions for the slots, so that each goes to other nodes.
    questions: usize,
}

/// A command on its way, and where it is to go: to the node of its slot, or where a node said.
struct Errand {
    at: usize,
    ask: Option<Address>,
}

/// Sends of one command until its answer is believed: a moved slot takes two, one that moves just then a few more.
const ROUNDS: usize = 8;

/// Nodes that are asked for the slots at the same time; the first answer counts, so that one that hangs delays nobody.
const ASKED: usize = 4;

/// After a redirection the slots are asked for again, at most this often.
const FRESH: Duration = Duration::from_secs(1);

impl Cluster {
    pub(super) fn new(seeds: Vec<Address>, template: Template) -> Self {
        Self {
            seeds,
            template,
            map: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Sends the commands at once and waits for all answers.
    pub(super) async fn send(
        &self,
        commands: &[Command],
        deadline: Deadline,
    ) -> Result<Answers, Failure> {
        let mut answers: Vec<Option<RedisResult<Value>>> = commands.iter().map(|_| None).collect();
        let mut errands: Vec<Errand> = (0..commands.len())
            .map(|at| Errand { at, ask: None })
            .collect();
        let mut renewed = false;
        for _ in 0..ROUNDS {
            let (generation, doubtful) = self.state();
            if doubtful {
                self.renew(generation, deadline).await?;
            }
            let (parcels, homeless) = self.sort(commands, std::mem::take(&mut errands))?;
            if !homeless.is_empty() {
                // Perhaps a node takes the slots over just now; if not, this is what the other nodes would say.
                if renewed {
                    return Err(unserved());
                }
                renewed = true;
                self.renew(generation, deadline).await?;
            }
            errands = homeless;
            let sent = parcels
                .into_iter()
                .map(|parcel| parcel.deliver(commands, deadline));
            let mut moved = false;
            let mut lost = None;
            for (parcel, outcome) in join_all(sent).await {
                match outcome {
                    Ok(said) => moved |= self.read(&parcel, said, &mut answers, &mut errands)?,
                    Err(failure) => {
                        lost = Some(failure);
                        errands.extend(parcel.errands.into_iter().map(|errand| Errand {
                            at: errand.at,
                            ask: None,
                        }));
                    }
                }
            }
            if let Some(failure) = lost {
                // Another node may have taken its slots over. After a time-out there is no time left to ask.
                if renewed || matches!(failure, Failure::TimedOut(_)) {
                    self.map().doubtful = true;
                    return Err(failure);
                }
                renewed = true;
                self.renew(generation, deadline).await?;
            } else if moved && self.is_old() {
                self.renew(generation, deadline).await?;
            }
            if errands.is_empty() {
                return Ok(answers
                    .into_iter()
                    .map(|answer| answer.unwrap_or_else(|| Err(unanswered())))
                    .collect());
            }
        }
        Err(unserved())
    }

    /// What goes to each node; and what has no node.
    fn sort(
        &self,
        commands: &[Command],
        errands: Vec<Errand>,
    ) -> Result<(Vec<Parcel>, Vec<Errand>), Failure> {
        let mut map = self.map();
        let mut parcels: BTreeMap<usize, Parcel> = BTreeMap::new();
        let mut homeless = Vec::new();
        for errand in errands {
            let place = match &errand.ask {
                Some(address) => Some(map.place(address, &self.template)?),
                None => map.owners[commands[errand.at].slot].map(usize::from),
            };
            let Some(place) = place else {
                homeless.push(errand);
                continue;
            };
            let (address, node) = &map.nodes[place];
            let parcel = || Parcel {
                address: address.clone(),
                node: Arc::clone(node),
                errands: Vec::new(),
            };
            parcels
                .entry(place)
                .or_insert_with(parcel)
                .errands
                .push(errand);
        }
        Ok((parcels.into_values().collect(), homeless))
    }

    /// Sorts answers from redirections; whether a slot has moved for good.
    fn read(
        &self,
        parcel: &Parcel,
        said: Answers,
        answers: &mut [Option<RedisResult<Value>>],
        errands: &mut Vec<Errand>,
    ) -> Result<bool, Failure> {
        let mut moved = false;
        for (errand, answer) in parcel.errands.iter().zip(said) {
            let at = errand.at;
            let error = match answer {
                Ok(value) => {
                    answers[at] = Some(Ok(value));
                    continue;
                }
                Err(error) => error,
            };
            match slots::redirect(&error, &parcel.address) {
                Some(Redirect::Moved(slot, address)) => {
                    moved = true;
                    let mut map = self.map();
                    let place = map.place(&address, &self.template)?;
                    map.owners[slot] = u16::try_from(place).ok();
                    errands.push(Errand { at, ask: None });
                }
                Some(Redirect::Ask(address)) => errands.push(Errand {
                    at,
                    ask: Some(address),
                }),
                None => answers[at] = Some(Err(error)),
            }
        }
        Ok(moved)
    }

    /// Asks the cluster who has which slots, unless that was done since `generation`.
    async fn renew(&self, generation: u64, deadline: Deadline) -> Result<(), Failure> {
        let _turn = deadline.wait(self.turn.lock()).await?;
        if self.state().0 != generation {
            return Ok(());
        }
        let asked = self.asked()?;
        let command = redis::cmd("CLUSTER").arg("SLOTS").clone();
        let ask = |(address, node): (Address, Arc<Node>)| {
            let command = &command;
            Box::pin(async move {
                let answer = node.send(&[command], deadline).await?.remove(0)?;
                slots::ranges(&answer, &address)
                    .filter(|ranges| !ranges.is_empty())
                    .ok_or_else(unserved)
            })
        };
        let (ranges, _) = select_ok(asked.into_iter().map(ask)).await?;
        self.map().renew(ranges, &self.template)
    }

    /// Some of the nodes and seeds, other ones every time.
    fn asked(&self) -> Result<Vec<(Address, Arc<Node>)>, Failure> {
        let mut map = self.map();
        for seed in &self.seeds {
            map.place(seed, &self.template)?;
        }
        let count = map.nodes.len();
        let first = map.questions % count;
        map.questions += 1;
        Ok((0..count.min(ASKED))
            .map(|next| map.nodes[(first + next) % count].clone())
            .collect())
    }

    /// The map's number, and whether it must be renewed before it is used.
    fn state(&self) -> (u64, bool) {
        let map = self.map();
        (map.generation, map.doubtful || map.owners.is_empty())
    }

    fn is_old(&self) -> bool {
        self.map().made.is_none_or(|made| made.elapsed() > FRESH)
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map {
    /// The position of a node, which is new perhaps.
    fn place(&mut self, address: &Address, template: &Template) -> Result<usize, Failure> {
        if let Some(place) = self.nodes.iter().position(|(known, _)| known == address) {
            return Ok(place);
        }
        self.nodes
            .push((address.clone(), Arc::new(template.node(address)?)));
        Ok(self.nodes.len() - 1)
    }

    /// Takes over what the cluster said. Nodes without slots are forgotten, those that stay keep their connections.
    fn renew(
        &mut self,
        ranges: Vec<(usize, usize, Address)>,
        template: &Template,
    ) -> Result<(), Failure> {
        let known: HashMap<Address, Arc<Node>> =
            std::mem::take(&mut self.nodes).into_iter().collect();
        self.owners.clear();
        self.owners.resize(SLOTS, None);
        for (first, last, address) in ranges {
            if let Some(node) = known
                .get(&address)
                .filter(|_| !self.nodes.iter().any(|(held, _)| *held == address))
            {
                self.nodes.push((address.clone(), Arc::clone(node)));
            }
            let place = self.place(&address, template)?;
            self.owners[first..=last].fill(u16::try_from(place).ok());
        }
        self.generation += 1;
        self.doubtful = false;
        self.made = Some(Instant::now());
        Ok(())
    }
}

/// Commands for one node.
struct Parcel {
    address: Address,
    node: Arc<Node>,
    errands: Vec<Errand>,
}

impl Parcel {
    async fn deliver(
        self,
        commands: &[Command],
        deadline: Deadline,
    ) -> (Self, Result<Answers, Failure>) {
        let asking = redis::cmd("ASKING");
        let mut sent: Vec<&Cmd> = Vec::with_capacity(self.errands.len());
        for errand in &self.errands {
            if errand.ask.is_some() {
                sent.push(&asking);
            }
            sent.push(&commands[errand.at].cmd);
        }
        let outcome = self.node.send(&sent, deadline).await.map(|said| {
            // The answers to `ASKING` stand before those to what was asked.
            let mut said = said.into_iter();
            let answer = |errand: &Errand| {
                said.nth(usize::from(errand.ask.is_some()))
                    .unwrap_or_else(|| Err(unanswered()))
            };
            self.errands.iter().map(answer).collect()
        });
        (self, outcome)
    }
}

/// No node serves the slot, or they send from one to another.
fn unserved() -> Failure {
    RedisError::from((
        ServerErrorKind::ClusterDown.into(),
        "no node of the cluster serves the slot",
    ))
    .into()
}

fn unanswered() -> RedisError {
    (
        redis::ErrorKind::UnexpectedReturnType,
        "a command was not answered",
    )
        .into()
}
