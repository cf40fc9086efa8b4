//! The explorer over real sockets: OTLP in on one port, reads on the other.

mod hostile;
mod reads;
mod receive;
mod scripts;
mod shape;
mod sizes;
mod support;
