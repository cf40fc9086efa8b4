//! A part as its neighbours see it: a child process with its own telemetry, over real sockets.
//!
//! Telemetry is global in a process, so each test starts this test binary once more as a small
//! service ([`probe`]) with the environment of the case, and reads what arrives at a real OTLP
//! receiver ([`collector`]).

mod client;
mod collector;
mod faults;
mod lifecycle;
mod losses;
mod probe;
mod process;
mod propagation;
mod server;
mod variables;
mod w3c;
