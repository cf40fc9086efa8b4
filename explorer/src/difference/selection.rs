//! Which traces are looked at: a part of the dots, or a group that has a name.

use std::cmp::Reverse;

use super::Selected;
use crate::filter::{self, Condition, Filter, Parameters, moment};
use crate::store::TraceStore;
use crate::store::traces::TraceOutline;

/// The slow ones are this part of the traces.
const SLOW_PART: usize = 10;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Selection {
    /// A rectangle of the dots: start from `from` to `to`, duration from `min` to `max`.
    Rectangle {
        from: u64,
        to: u64,
        min: u64,
        max: u64,
    },
    /// The slowest tenth.
    Slow,
    /// With a span of status ERROR.
    Failed,
    /// With a prediction of a version that drifts.
    Drifted,
    /// With this `ml.variant`.
    Variant(String),
}

impl Selection {
    /// `compare=slow|failed|drifted|variant=NAME|selection`, the last with `from`, `to`, `min` and
    /// `max`.
    pub(crate) fn parse(parameters: &Parameters, now: u64) -> Result<Option<Selection>, String> {
        let Some(name) = parameters.one("compare")? else {
            return Ok(None);
        };
        if let Some(variant) = name.strip_prefix("variant=") {
            return Ok(Some(Selection::Variant(variant.to_owned())));
        }
        Ok(Some(match name {
            "slow" => Selection::Slow,
            "failed" => Selection::Failed,
            "drifted" => Selection::Drifted,
            "selection" => Selection::rectangle(parameters, now)?,
            _ => {
                return Err(format!(
                    "compare must be slow, failed, drifted, variant=NAME or selection, not {name:?}"
                ));
            }
        }))
    }

    fn rectangle(parameters: &Parameters, now: u64) -> Result<Selection, String> {
        let time = |name: &str, open: u64| match parameters.one(name)? {
            None => Ok(open),
            Some(text) => moment(text, now)
                .ok_or_else(|| format!("{name} {text:?} is no time: write 2026-01-31T12:00:00Z")),
        };
        Ok(Selection::Rectangle {
            from: time("from", 0)?,
            to: time("to", u64::MAX)?,
            min: parameters.milliseconds("min")?.unwrap_or(0),
            max: parameters.milliseconds("max")?.unwrap_or(u64::MAX),
        })
    }

    /// The ids of the selected traces.
    pub(super) fn of(&self, store: &TraceStore, traces: &[TraceOutline]) -> Selected {
        let of_condition = |key: &str, value: &str| {
            let filter = Filter {
                conditions: vec![Condition::is(key, value)],
                ..Filter::default()
            };
            let listed: Selected = traces.iter().map(|trace| trace.id).collect();
            let matching = filter::matching(store, &filter, usize::MAX);
            let ids = matching.into_iter().map(|trace| trace.id);
            ids.filter(|id| listed.contains(id)).collect()
        };
        let with = |is_selected: &dyn Fn(&TraceOutline) -> bool| {
            let selected = traces.iter().filter(|trace| is_selected(trace));
            selected.map(|trace| trace.id).collect()
        };
        match self {
            Selection::Rectangle { from, to, min, max } => with(&|trace| {
                (*from..=*to).contains(&trace.start) && (*min..=*max).contains(&trace.duration())
            }),
            Selection::Slow => {
                let mut slowest: Vec<_> = traces.iter().collect();
                slowest.sort_unstable_by_key(|trace| (Reverse(trace.duration()), trace.id));
                slowest.truncate(traces.len().div_ceil(SLOW_PART));
                slowest.into_iter().map(|trace| trace.id).collect()
            }
            Selection::Failed => with(&|trace| trace.failed),
            Selection::Drifted => of_condition("ml.drift_detected", "true"),
            Selection::Variant(name) => of_condition("ml.variant", name),
        }
    }
}
