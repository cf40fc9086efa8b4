//! The model service over real sockets, with a model that was trained for the tests on the real
//! data.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod added;
mod control;
mod drift;
mod encoder;
mod features;
mod infer;
mod reads;
mod server;
mod texts;
mod threads;
mod trace;
mod training;
