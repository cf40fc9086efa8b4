//! The feature store as its clients meet it: bytes over a socket.

mod bodies;
mod faults;
mod hostile;
mod process;
mod redis;
mod redis_server;
mod secrets;
mod server;
mod strict;
mod time_to_live;
mod view_folder;
mod writes;
