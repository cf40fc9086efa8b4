//! Redis and Valkey, one server or a cluster: one hash per entity. Only this module and its
//! children know the client.
//!
//! The key of an entity's hash is `{prefix}{view}:{key}`. Its fields are the features that are not
//! null and `__event_time`. A read is one `HMGET` per entity, a write one call of `put.lua` per
//! entity, which compares the event times and changes the hash atomically. Entities share nothing,
//! so any of them may be on any node. The commands of a batch are sent together.

mod cluster;
mod codec;
mod command;
mod connection;
mod failure;
mod node;
mod settings;
mod slot_map;
mod slots;

pub use settings::{RedisAddress, RedisOptions, SettingsError};

use std::collections::HashMap;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, RedisResult, Script, ServerErrorKind, Value};
use runtime::{Health, Outage};

use super::{BackendError, Call, Engine, EntityKey, FeatureBackend, Pending, Row, Server, Written};
use crate::views::FeatureView;
use codec::{Codec, EntityRows, Mismatch};
use command::KeyedCommand;
use connection::RedisConnection;
use failure::RedisFailure;
use node::Replies;

/// Features in Redis.
pub struct RedisBackend {
    connection: RedisConnection,
    codec: Codec,
    script: Script,
    server: Server,
}

/// The script of a write; Redis knows it by its SHA-1.
const PUT: &str = include_str!("redis/put.lua");

/// Batches in flight: while the server works on one, others are encoded, sent and read.
const WRITERS: usize = 8;

const READ: &str = "read features";
const WRITE: &str = "write features";

impl RedisBackend {
    /// Checks address and options and reads the files they name. The first call connects. `health`
    /// shows an outage.
    pub fn new(
        address: &RedisAddress,
        options: &RedisOptions,
        health: &Health,
    ) -> Result<Self, SettingsError> {
        let connection = RedisConnection::new(
            settings::topology(address, options)?,
            address.to_string(),
            options.redis_timeout,
            Outage::new("feature_backend", health),
        );
        let (host, port) = address.server().unzip();
        let server = Server {
            address: host.map(Into::into),
            port: port.flatten(),
            namespace: Some(address.namespace()),
        };
        Ok(Self {
            connection,
            codec: Codec::new(&options.redis_key_prefix),
            script: Script::new(PUT),
            server,
        })
    }

    async fn send(
        &self,
        action: &'static str,
        commands: Vec<KeyedCommand>,
    ) -> Result<Replies, BackendError> {
        self.connection
            .send(commands)
            .await
            .map_err(|failure| failure.into_backend_error(action))
    }

    async fn call(
        &self,
        action: &'static str,
        command: KeyedCommand,
    ) -> Result<Value, BackendError> {
        let replies = self.send(action, vec![command]).await?;
        let reply = replies.into_iter().next().ok_or(Mismatch::Reply)?;
        value(action, reply)
    }

    async fn select(
        &self,
        view: &FeatureView,
        keys: &[EntityKey],
    ) -> Result<Vec<Option<Row>>, BackendError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let commands = keys.iter().map(|key| self.codec.read(view, key)).collect();
        self.send(READ, commands)
            .await?
            .into_iter()
            .map(|reply| match reply {
                // The key is of another type; the other entities can be read.
                Err(error) if error.code() == Some("WRONGTYPE") => {
                    Ok(Some(Row::all_unreadable(view)))
                }
                reply => Ok(Codec::row(view, value(READ, reply)?)?),
            })
            .collect()
    }

    async fn put(
        &self,
        view: &FeatureView,
        rows: &[(EntityKey, Row)],
    ) -> Result<Written, BackendError> {
        let entities = by_entity(rows);
        if entities.is_empty() {
            return Ok(Written::default());
        }
        let replies = self.run_script(view, &entities).await?;
        let mut sum = Written::default();
        for (rows, reply) in entities.iter().zip(replies) {
            let Value::Int(written) = value(WRITE, reply)? else {
                return Err(Mismatch::Reply.into());
            };
            let written = u64::try_from(written).unwrap_or_default();
            sum.written += written;
            sum.outdated += rows.outdated(written);
        }
        Ok(sum)
    }

    /// Calls the script for each entity by its hash, and with its text where the server does not
    /// know it: it has been started or promoted since the last call. The text makes it known.
    async fn run_script(
        &self,
        view: &FeatureView,
        entities: &[EntityRows<'_>],
    ) -> Result<Replies, BackendError> {
        let hash = self.script.get_hash();
        let by_hash = entities
            .iter()
            .map(|rows| self.codec.write("EVALSHA", hash, view, rows));
        let mut replies = self.send(WRITE, by_hash.collect()).await?;
        let unknown: Vec<usize> = (0..replies.len())
            .filter(|&at| is_unknown_script(&replies[at]))
            .collect();
        if unknown.is_empty() {
            return Ok(replies);
        }
        let by_text = unknown
            .iter()
            .map(|&at| self.codec.write("EVAL", PUT, view, &entities[at]));
        let retried = self.send(WRITE, by_text.collect()).await?;
        for (at, reply) in unknown.into_iter().zip(retried) {
            replies[at] = reply;
        }
        Ok(replies)
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
            self.call("reach Redis", KeyedCommand::new("", redis::cmd("PING")))
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
                _ => Err(Mismatch::Reply.into()),
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

    fn delete<'a>(&'a self, view: &'a Arc<FeatureView>, keys: &'a [EntityKey]) -> Pending<'a, u64> {
        const DELETE: &str = "delete features";
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(0);
            }
            let commands = keys.iter().map(|key| self.codec.delete(view, key));
            let mut deleted = 0;
            for reply in self.send(DELETE, commands.collect()).await? {
                let Value::Int(keys) = value(DELETE, reply)? else {
                    return Err(Mismatch::Reply.into());
                };
                deleted += u64::try_from(keys).unwrap_or_default();
            }
            Ok(deleted)
        })
    }
}

/// The rows by entity, in the order in which the entities come.
fn by_entity(rows: &[(EntityKey, Row)]) -> Vec<EntityRows<'_>> {
    let mut entities: Vec<EntityRows<'_>> = Vec::with_capacity(rows.len());
    let mut positions: HashMap<&EntityKey, usize> = HashMap::with_capacity(rows.len());
    for (key, row) in rows {
        let at = *positions.entry(key).or_insert(entities.len());
        match entities.get_mut(at) {
            Some(entity) => entity.push(row),
            None => entities.push(EntityRows::new(key, row)),
        }
    }
    entities
}

fn value(action: &'static str, reply: RedisResult<Value>) -> Result<Value, BackendError> {
    reply.map_err(|error| RedisFailure::from(error).into_backend_error(action))
}

fn is_unknown_script(reply: &Result<Value, RedisError>) -> bool {
    matches!(reply, Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
}

#[cfg(test)]
mod tests;
