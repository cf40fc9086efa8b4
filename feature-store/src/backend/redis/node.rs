//! The connection to one node: made when it is needed, made again when it is lost, and never waited
//! for too long.
//!
//! All calls share one connection and pipeline their commands on it. The client's connection
//! manager is not used: docs/adr/0008-redis-client.md.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, RedisError,
    RedisResult, TlsCertificates, Value,
};
use tokio::time::{timeout, timeout_at};

use super::failure::RedisFailure;
use super::slots::Address;

/// The reply to each command of a pipeline.
pub(super) type Replies = Vec<RedisResult<Value>>;

/// One server, alone or in a cluster.
pub(super) struct RedisNode {
    client: Client,
    connect_timeout: Duration,
    state: Mutex<State>,
    /// Held by the call that connects.
    connecting: tokio::sync::Mutex<()>,
}

/// How to connect to every node of a cluster.
pub(super) struct Connector {
    pub(super) info: ConnectionInfo,
    pub(super) certificates: Option<TlsCertificates>,
    pub(super) connect_timeout: Duration,
}

/// When a call must have ended, and how long it could take.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimit {
    end: Instant,
    duration: Duration,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that a failed call drops only the one that it used.
    generation: u64,
    /// When the last attempt to connect failed, and why.
    refused: Option<(Instant, RedisFailure)>,
}

/// After a failed attempt to connect, calls fail at once for this time: it spares the server and
/// the callers.
const PAUSE: Duration = Duration::from_millis(200);

impl TimeLimit {
    /// A limit that begins now.
    pub(super) fn after(duration: Duration) -> Self {
        Self {
            end: Instant::now() + duration,
            duration,
        }
    }

    /// Waits for the work, at most until the end.
    pub(super) async fn wait<T>(self, work: impl Future<Output = T>) -> Result<T, RedisFailure> {
        timeout_at(self.end.into(), work)
            .await
            .map_err(|_| RedisFailure::TimedOut(self.duration))
    }
}

impl Connector {
    /// The node of a cluster at this address.
    pub(super) fn node(&self, (host, port): &Address) -> Result<RedisNode, RedisError> {
        let (host, port) = (host.clone(), *port);
        self.node_at(match self.info.addr() {
            ConnectionAddr::TcpTls { insecure, .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: None,
            },
            _ => ConnectionAddr::Tcp(host, port),
        })
    }

    pub(super) fn node_at(&self, address: ConnectionAddr) -> Result<RedisNode, RedisError> {
        let info = self.info.clone().set_addr(address);
        let client = match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone())?,
            None => Client::open(info)?,
        };
        Ok(RedisNode::new(client, self.connect_timeout))
    }
}

impl RedisNode {
    fn new(client: Client, connect_timeout: Duration) -> Self {
        Self {
            client,
            connect_timeout,
            state: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// Sends the commands at once and waits for all replies. If the connection was lost they are
    /// sent again, so they must be idempotent.
    pub(super) async fn send(
        &self,
        commands: &[&Cmd],
        limit: TimeLimit,
    ) -> Result<Replies, RedisFailure> {
        let mut retried = false;
        loop {
            let (generation, connection) = limit.wait(self.connection()).await??;
            let failure = match limit.wait(pipelined(connection, commands)).await {
                Ok(Ok(replies)) => {
                    let refused = |reply: &RedisResult<Value>| {
                        reply.as_ref().is_err_and(RedisFailure::ends_session)
                    };
                    if replies.iter().any(refused) {
                        self.drop_connection(generation);
                    }
                    return Ok(replies);
                }
                Ok(Err(error)) => RedisFailure::from(error),
                Err(late) => late,
            };
            self.drop_connection(generation);
            if retried || !failure.lost_connection() {
                return Err(failure);
            }
            retried = true;
        }
    }

    /// The connection and its number. One caller connects, the others wait for it.
    async fn connection(&self) -> Result<(u64, MultiplexedConnection), RedisFailure> {
        if let Some(known) = self.known() {
            return known;
        }
        let _connecting = self.connecting.lock().await;
        if let Some(known) = self.known() {
            return known;
        }
        let connected = match timeout(self.connect_timeout, self.connect()).await {
            Ok(connected) => connected.map_err(RedisFailure::from),
            Err(_) => Err(RedisFailure::TimedOut(self.connect_timeout)),
        };
        let mut state = self.state.lock();
        match connected {
            Ok(connection) => {
                state.generation += 1;
                state.refused = None;
                state.connection = Some(connection.clone());
                Ok((state.generation, connection))
            }
            Err(failure) => {
                state.refused = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// A connection on which the server has answered a `PING`. A server that wants a password
    /// closes a connection without one at a long command; only to a short one it replies why.
    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        match redis::cmd("PING")
            .query_async::<Value>(&mut connection)
            .await
        {
            // The commands themselves report other errors, such as `LOADING`.
            Err(error) if error.code().is_none() || RedisFailure::ends_session(&error) => {
                Err(error)
            }
            _ => Ok(connection),
        }
    }

    /// The open connection, or the error of an attempt that has just failed.
    fn known(&self) -> Option<Result<(u64, MultiplexedConnection), RedisFailure>> {
        let state = self.state.lock();
        if let Some(connection) = &state.connection {
            return Some(Ok((state.generation, connection.clone())));
        }
        let (when, failure) = state.refused.as_ref()?;
        (when.elapsed() < PAUSE).then(|| Err(failure.clone()))
    }

    /// Drops the connection, unless a newer one has replaced it.
    fn drop_connection(&self, generation: u64) {
        let mut state = self.state.lock();
        if generation == state.generation {
            state.connection = None;
        }
    }
}

async fn pipelined(
    mut connection: MultiplexedConnection,
    commands: &[&Cmd],
) -> RedisResult<Replies> {
    if let [command] = commands {
        let reply = connection
            .req_packed_command(command)
            .await
            .and_then(Value::extract_error);
        // An error of the server is a reply; an error of the connection is not.
        return match reply {
            Err(error) if error.code().is_none() => Err(error),
            reply => Ok(vec![reply]),
        };
    }
    let mut pipeline = Pipeline::with_capacity(commands.len());
    for command in commands {
        pipeline.add_command((*command).clone());
    }
    pipeline.ignore_errors().query_async(&mut connection).await
}
