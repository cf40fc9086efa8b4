//! The explorer over real sockets: OTLP in on one port, reads on the other.

mod hostile;
mod links;
mod list;
mod overview;
mod reads;
mod receive;
mod rules;
mod scripts;
mod shape;
mod sizes;
mod support;
mod token;
mod trace_page;
mod try_it;
