//! The gateway over real sockets, with a fake model service that each test controls.

mod answers;
mod caching;
mod configuration;
mod degraded;
mod drift;
mod elasticsearch;
mod fake;
mod feedback;
pub(crate) mod harness;
mod hostile;
mod openapi;
mod search;
mod single_flight;
mod stores;
mod through;
mod variants;

#[test]
fn every_refusal_has_a_code_of_the_protocol() {
    for refusal in runtime::Refusal::ALL {
        let code = protocol::ErrorCode::parse(refusal.code());
        assert!(code.is_some(), "{}", refusal.code());
    }
}
