//! The system as a user meets it: real processes on free ports, requests over sockets, and their
//! traces.

mod alert_rules;
mod architecture;
mod check;
mod collector;
mod command_line;
mod components;
mod degraded;
mod deployment;
mod distributed;
mod documents;
mod drift;
mod elasticsearch_store;
mod hardening;
mod learn;
mod load;
mod malformed;
mod module_circles;
mod names;
mod new_version;
mod oip_conformance;
mod overflow;
mod propagation;
mod quality;
mod rules;
mod secrets;
mod system;
mod table;
mod texts;
mod trace_command;
mod trace_contract;
mod two_languages;
mod two_languages_headers;
mod variants;
#[path = "../../runtime/tests/process/w3c.rs"]
mod w3c;
