//! The feature store as its clients meet it: bytes over a socket.

mod bodies;
mod hostile;
mod process;
mod redis;
mod redis_server;
mod server;
mod time_to_live;
mod writes;
