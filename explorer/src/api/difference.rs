//! `GET /api/difference`: what is different about some of the traces, as the page `/` shows it.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use serde_json::{Value, json};

use super::answer::{self, Encoded};
use super::query;
use crate::difference::{Difference, Evidence, LEAST_SELECTED, Ranked, Selection, difference};
use crate::error::ReadError;
use crate::filter::{self, Parameters};
use crate::store::TelemetryStore;

/// The traces are those of the filter of `GET /api/traces`, without its limit.
pub(super) async fn read(
    State(store): State<Arc<TelemetryStore>>,
    RawQuery(query): RawQuery,
) -> Result<Encoded, ReadError> {
    let parameters = Parameters::parse(query.as_deref().unwrap_or_default());
    let now = query::now();
    let filter = parameters.filter(now).map_err(ReadError::Invalid)?;
    let selection = Selection::parse(&parameters, now).map_err(ReadError::Invalid)?;
    let selection = selection.ok_or_else(|| {
        ReadError::Invalid(
            "compare is missing: slow, failed, drifted, variant=NAME or selection".to_owned(),
        )
    })?;
    answer::build(move || {
        let traces = filter::matching(&store.traces, &filter, usize::MAX);
        answer::value(&document(&difference(&store, &traces, &selection)))
    })
    .await
}

fn document(difference: &Difference) -> Value {
    json!({
        "selected": difference.selected,
        "rest": difference.rest,
        "least_selected": LEAST_SELECTED,
        "ranked": difference.ranked.iter().map(ranked).collect::<Vec<_>>(),
        "left_out": difference.left_out,
    })
}

fn ranked(ranked: &Ranked) -> Value {
    let mut entry = json!({
        "name": ranked.name,
        "origin": ranked.origin,
        "distance": ranked.distance,
        "score": ranked.score,
    });
    match &ranked.evidence {
        Evidence::Categories(categories) => {
            let category = categories.iter().map(|category| {
                json!({ "value": category.value, "selected": category.selected, "rest": category.rest, "lift": category.lift })
            });
            entry["categories"] = category.collect();
        }
        Evidence::Numbers(bins) => {
            let bin = bins.iter().map(|bin| {
                json!({ "from": bin.from, "to": bin.to, "selected": bin.selected, "rest": bin.rest })
            });
            entry["bins"] = bin.collect();
        }
    }
    entry
}
