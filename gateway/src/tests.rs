//! The gateway as its clients meet it: over real sockets, beside a model service that is told how to behave.

mod answers;
mod caching;
mod configuration;
mod degraded;
mod elasticsearch;
mod fake;
mod harness;
mod hostile;
mod openapi;
mod search;
mod single_flight;
mod stores;
mod through;
mod variants;
