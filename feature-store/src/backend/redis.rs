//! Redis and Valkey, one server or a cluster: one hash per entity. This and the folder beside it alone know the client.
//!
//! An entity's hash is `{prefix}{view}:{key}`. Its fields are the features that are not null and `__event_time`. A read is one
//! `HMGET` per entity, a write one call of `put.lua` per entity, which compares the event times and changes the hash as one
//! step. Nothing is shared between entities, so any of them may lie on any node. What a batch needs goes out together.

mod cluster;
mod codec;
mod failure;
mod link;
mod node;
mod settings;
mod slots;

pub use settings::{RedisAddress, RedisOptions, SettingsError};

use std::collections::HashMap;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, Script, ServerErrorKind, Value};

use super::{BackendError, Call, Engine, EntityKey, FeatureBackend, Pending, Row, Server, Written};
use crate::views::FeatureView;
use codec::{Chain, Codec, Mismatch};
use failure::Failure;
use link::{Command, Link};

/// Features in Redis.
pub struct RedisBackend {
    link: Link,
    codec: Codec,
    script: Script,
    server: Server,
}

/// The text of the script; Redis knows it by its SHA-1.
const PUT: &str = include_str!("redis/put.lua");

/// Batches under way at a time: while the server works on one, others are encoded, sent and read.
const WRITERS: usize = 8;

impl RedisBackend {
    /// Checks address and options and reads the files they name. Servers are connected to by the first call.
    pub fn new(address: &RedisAddress, options: &RedisOptions) -> Result<Self, SettingsError> {
        let servers = settings::servers(address, options)?;
        let link = Link::new(servers, address.to_string(), options.redis_timeout);
        let (host, port) = address.server().unzip();
        let server = Server {
            address: host.map(Into::into),
            port: port.flatten(),
            namespace: Some(address.namespace()),
        };
        Ok(Self {
            link,
            codec: Codec::new(&options.redis_key_prefix),
            script: Script::new(PUT),
            server,
        })
    }

    async fn call(&self, action: &'static str, command: Command) -> Result<Value, BackendError> {
        let answers = self
            .link
            .send(vec![command])
            .await
            .map_err(|failure| failure.of(action))?;
        let answer = answers.into_iter().next().ok_or(Mismatch::Answer)?;
        answer.map_err(|error| Failure::from(error).of(action))
    }

    async fn select(
        &self,
        view: &FeatureView,
        keys: &[EntityKey],
    ) -> Result<Vec<Option<Row>>, BackendError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |failure: Failure| failure.of("read features");
        let commands = keys.iter().map(|key| self.codec.read(view, key)).collect();
        let answers = self.link.send(commands).await.map_err(failed)?;
        let row = |answer: Result<Value, RedisError>| {
            Ok(Codec::row(
                view,
                answer.map_err(|error| failed(error.into()))?,
            )?)
        };
        answers.into_iter().map(row).collect()
    }

    async fn put(
        &self,
        view: &FeatureView,
        rows: &[(EntityKey, Row)],
    ) -> Result<Written, BackendError> {
        let failed = |failure: Failure| failure.of("write features");
        let chains = chains(rows);
        if chains.is_empty() {
            return Ok(Written::default());
        }
        let known = chains.iter().map(|chain| {
            self.codec
                .write("EVALSHA", self.script.get_hash(), view, chain)
        });
        let mut answers = self.link.send(known.collect()).await.map_err(failed)?;
        // A server that was started or promoted since has not the script yet. Sending the text makes it known.
        let unknown: Vec<usize> = (0..answers.len())
            .filter(|&at| is_unknown(&answers[at]))
            .collect();
        if !unknown.is_empty() {
            let texts = unknown
                .iter()
                .map(|&at| self.codec.write("EVAL", PUT, view, &chains[at]));
            let again = self.link.send(texts.collect()).await.map_err(failed)?;
            for (at, answer) in unknown.into_iter().zip(again) {
                answers[at] = answer;
            }
        }
        let mut sum = Written::default();
        for (chain, answer) in chains.iter().zip(answers) {
            let Value::Int(written) = answer.map_err(|error| failed(error.into()))? else {
                return Err(Mismatch::Answer.into());
            };
            let written = u64::try_from(written).unwrap_or_default();
            sum.written += written;
            sum.outdated += chain.outdated(written);
        }
        Ok(sum)
    }
}

impl FeatureBackend for RedisBackend {
    fn engine(&self) -> Engine {
        Engine {
            system: "redis",
            read: Call {
                one: "HMGET",
                batch: "PIPELINE HMGET",
            },
            write: Call {
                one: "EVALSHA",
                batch: "PIPELINE EVALSHA",
            },
        }
    }

    fn server(&self) -> &Server {
        &self.server
    }

    fn ping(&self) -> Pending<'_, ()> {
        Box::pin(async {
            self.call("reach Redis", Command::new("", redis::cmd("PING")))
                .await
                .map(drop)
        })
    }

    fn writers(&self) -> usize {
        WRITERS
    }

    fn mark<'a>(&'a self, name: &'a str) -> Pending<'a, Option<String>> {
        Box::pin(async {
            match self
                .call("read the mark", self.codec.mark("GET", name, None))
                .await?
            {
                Value::Nil => Ok(None),
                Value::BulkString(text) => Ok(String::from_utf8(text).ok()),
                _ => Err(Mismatch::Answer.into()),
            }
        })
    }

    fn set_mark<'a>(&'a self, name: &'a str, text: Option<String>) -> Pending<'a, ()> {
        Box::pin(async move {
            let command = self.codec.mark(
                if text.is_some() { "SET" } else { "DEL" },
                name,
                text.as_deref(),
            );
            self.call("write the mark", command).await.map(drop)
        })
    }

    fn read<'a>(
        &'a self,
        view: &'a Arc<FeatureView>,
        keys: &'a [EntityKey],
    ) -> Pending<'a, Vec<Option<Row>>> {
        Box::pin(self.select(view, keys))
    }

    fn write<'a>(
        &'a self,
        view: &'a Arc<FeatureView>,
        rows: Vec<(EntityKey, Row)>,
    ) -> Pending<'a, Written> {
        Box::pin(async move { self.put(view, &rows).await })
    }
}

/// The rows by entity, in the order in which the entities come.
fn chains(rows: &[(EntityKey, Row)]) -> Vec<Chain<'_>> {
    let mut chains: Vec<Chain<'_>> = Vec::with_capacity(rows.len());
    let mut places: HashMap<&EntityKey, usize> = HashMap::with_capacity(rows.len());
    for (key, row) in rows {
        let at = *places.entry(key).or_insert(chains.len());
        match chains.get_mut(at) {
            Some(chain) => chain.push(row),
            None => chains.push(Chain::new(key, row)),
        }
    }
    chains
}

fn is_unknown(answer: &Result<Value, RedisError>) -> bool {
    matches!(answer, Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
}

#[cfg(test)]
mod tests;
