//! The connection to one server: made when it is needed, made again when it is lost, and never waited for too long.
//!
//! All calls share one connection, on which their commands are pipelined. The client's own connection manager is not used: it
//! connects again after I/O errors only, so a password that was refused once would be refused for ever.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisResult, Value};
use tokio::time::{timeout, timeout_at};

use super::failure::Failure;

/// What each command of a batch was answered with.
pub(super) type Answers = Vec<RedisResult<Value>>;

/// One server.
pub(super) struct Node {
    client: Client,
    /// Time for a connection to be made.
    connecting: Duration,
    state: Mutex<State>,
    /// Held by the one who connects.
    turn: tokio::sync::Mutex<()>,
}

/// Until when a call may take, and how long that was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Instant,
    patience: Duration,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that only the one that failed is dropped.
    generation: u64,
    /// Why the last try to connect failed, and when.
    refused: Option<(Instant, Failure)>,
}

/// After a failed try to connect, calls fail at once for so long: the server is spared, and so are the callers.
const PAUSE: Duration = Duration::from_millis(200);

impl Deadline {
    /// Begins now.
    pub(super) fn after(patience: Duration) -> Self {
        Self {
            at: Instant::now() + patience,
            patience,
        }
    }

    /// Waits at most until then.
    pub(super) async fn wait<T>(self, work: impl Future<Output = T>) -> Result<T, Failure> {
        timeout_at(self.at.into(), work)
            .await
            .map_err(|_| Failure::TimedOut(self.patience))
    }
}

impl Node {
    pub(super) fn new(client: Client, connecting: Duration) -> Self {
        Self {
            client,
            connecting,
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Sends the commands at once and waits for all answers. If the connection was lost they are sent again, so they must be
    /// such that this does no harm.
    pub(super) async fn send(
        &self,
        commands: &[&Cmd],
        deadline: Deadline,
    ) -> Result<Answers, Failure> {
        let mut again = true;
        loop {
            let (generation, connection) = deadline.wait(self.connection()).await??;
            let failure = match deadline.wait(pipelined(connection, commands)).await {
                Ok(Ok(answers)) => {
                    let refused = answers
                        .iter()
                        .any(|answer| answer.as_ref().is_err_and(Failure::ends_session));
                    if refused {
                        self.forget(generation);
                    }
                    return Ok(answers);
                }
                Ok(Err(error)) => Failure::from(error),
                Err(late) => late,
            };
            self.forget(generation);
            if !(again && failure.lost_connection()) {
                return Err(failure);
            }
            again = false;
        }
    }

    /// The connection and its number. One caller connects, the others wait for it.
    async fn connection(&self) -> Result<(u64, MultiplexedConnection), Failure> {
        if let Some(known) = self.known() {
            return known;
        }
        let _turn = self.turn.lock().await;
        if let Some(known) = self.known() {
            return known;
        }
        let connected = timeout(self.connecting, self.connect()).await;
        let failure = |_| Failure::TimedOut(self.connecting);
        let connected = connected
            .map_err(failure)
            .and_then(|connected| connected.map_err(Failure::from));
        let mut state = self.state();
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

    /// A connection on which the server has answered. Without a password a server that wants one closes the connection at a
    /// command of some length, and only a short one is told why.
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
            // Other refusals, such as that it is loading its data, are for the commands to tell.
            Err(error) if error.code().is_none() || Failure::ends_session(&error) => Err(error),
            _ => Ok(connection),
        }
    }

    /// The connection that is there, or why there was none a moment ago.
    fn known(&self) -> Option<Result<(u64, MultiplexedConnection), Failure>> {
        let state = self.state();
        if let Some(connection) = &state.connection {
            return Some(Ok((state.generation, connection.clone())));
        }
        let (when, failure) = state.refused.as_ref()?;
        (when.elapsed() < PAUSE).then(|| Err(failure.clone()))
    }

    /// Drops a connection that is of no use any more.
    fn forget(&self, generation: u64) {
        let mut state = self.state();
        if generation == state.generation {
            state.connection = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pipelined(
    mut connection: MultiplexedConnection,
    commands: &[&Cmd],
) -> RedisResult<Answers> {
    if let [command] = commands {
        let answer = connection
            .req_packed_command(command)
            .await
            .and_then(Value::extract_error);
        // What the server says is an answer; what happened to the connection is not.
        return match answer {
            Err(error) if error.code().is_none() => Err(error),
            answer => Ok(vec![answer]),
        };
    }
    let mut pipeline = Pipeline::with_capacity(commands.len());
    for command in commands {
        pipeline.add_command((*command).clone());
    }
    pipeline.ignore_errors().query_async(&mut connection).await
}
