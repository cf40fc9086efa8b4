//! Feast's online protocol over HTTP, as in `feast serve` and the remote online store of Feast 0.58
//! to 0.67.

mod answer;
mod cells;
mod columns;
mod error;
mod request;
mod response;

pub use answer::{Answer, AnswerColumn, Skipped};
pub use cells::{Cell, List, Text, number};
pub use columns::Columns;
pub use error::{ErrorBody, ValidationBody, ValidationDetail};
pub use request::{OnlineRequest, PushRequest, PushTarget, Reference, Selection, WriteRequest};
pub use response::{FeatureColumn, OnlineResponse, ResponseMetadata, Status, ViewMetadata};

/// The timestamp of join keys and of unknown entities.
pub const EPOCH: &str = "1970-01-01T00:00:00Z";

#[cfg(test)]
mod tests;
