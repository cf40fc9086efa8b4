//! The system as a user meets it: real processes on free ports, asked over sockets, judged by their traces.

mod alert_rules;
mod architecture;
mod collector;
mod command_line;
mod components;
mod degraded;
mod documents;
mod elasticsearch_store;
mod harness;
mod malformed;
mod names;
mod oip_conformance;
mod propagation;
mod trace_contract;
mod two_languages;
mod variants;
