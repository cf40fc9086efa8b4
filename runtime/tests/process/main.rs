//! A part of the system as a child process with its own telemetry, over real sockets.
//!
//! Telemetry is global in a process, so each test starts this test binary once more as a small
//! service ([`probe`]) with the environment of the case, and reads what arrives at a collector, or
//! at a [`recorder`] in front of one.

mod client;
mod faults;
mod hostile;
mod lifecycle;
mod losses;
mod probe;
mod process;
mod propagation;
mod recorder;
mod server;
mod tls;
mod variables;
mod w3c;
