//! A command of Redis with the slot that decides which node of a cluster gets it.

use redis::Cmd;

use super::slots;

/// A command and the slot of its key.
pub(super) struct KeyedCommand {
    pub(super) slot: usize,
    pub(super) cmd: Cmd,
}

impl KeyedCommand {
    pub(super) fn new(key: &str, cmd: Cmd) -> Self {
        Self {
            slot: slots::slot(key.as_bytes()),
            cmd,
        }
    }
}
