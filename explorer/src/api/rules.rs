//! `GET /api/rules`.

use std::sync::Arc;

use axum::extract::State;
use serde_json::json;

use super::answer::{self, Encoded};
use crate::error::ReadError;
use crate::rules::{Rules, RulesReport};

/// The rules with their states, histories and traces.
pub(super) async fn read(State(rules): State<Arc<Rules>>) -> Result<Encoded, ReadError> {
    answer::build(move || {
        let RulesReport {
            evaluated,
            missed,
            webhook,
            rules,
        } = rules.report();
        let facts = json!({ "evaluated": evaluated, "missed": missed, "webhook": webhook });
        let facts = facts.to_string();
        let fields = facts
            .strip_prefix('{')
            .and_then(|fields| fields.strip_suffix('}'));
        let first = format!("{},", fields.unwrap_or_default());
        answer::list_beside(first.as_bytes(), "rules", rules.iter())
    })
    .await
}
