//! The time that each kind of span held its trace up.

use std::collections::HashMap;

use super::table::{Row, Side, Table};
use super::{Class, Selected};
use crate::critical_path::critical_path;
use crate::store::TraceStore;
use crate::store::traces::TraceOutline;
use crate::trace::Trace;

/// Traces of each side whose paths are computed: a path needs the decoded trace, and this many tell
/// a difference of a tenth from chance.
const MAX_PATHS: usize = 250;

/// Adds the milliseconds on the path by service and span name.
pub(super) fn add(
    table: &mut Table,
    store: &TraceStore,
    traces: &[TraceOutline],
    selected: &Selected,
) {
    let (chosen, rest): (Vec<_>, Vec<_>) = traces
        .iter()
        .partition(|trace| selected.contains(&trace.id));
    let mut row = Row::default();
    for (traces, side) in [(chosen, Side::Selected), (rest, Side::Rest)] {
        let mut counted = 0;
        for trace in spread(&traces) {
            let Some(spans) = store.get(trace.id) else {
                continue;
            };
            let Ok(trace) = Trace::from_resource_spans(spans) else {
                continue;
            };
            for ((service, name), time) in times(&trace) {
                let at = table.dimension(
                    Class::Path,
                    &format!("{service} {name}"),
                    "time on the critical path",
                );
                if let Some(at) = at {
                    table.dimensions[at].absent = Some(0.0);
                    row.number(at, time as f64 / 1e6);
                }
            }
            table.add_values(&mut row, side);
            counted += 1;
        }
        table.paths[side as usize] = counted;
    }
}

/// At most [`MAX_PATHS`], evenly from all.
fn spread<'a>(traces: &'a [&'a TraceOutline]) -> impl Iterator<Item = &'a TraceOutline> {
    let step = traces.len().div_ceil(MAX_PATHS).max(1);
    traces.iter().step_by(step).copied()
}

/// Nanoseconds on the path by service and span name.
fn times(trace: &Trace) -> HashMap<(&str, &str), u64> {
    let mut times = HashMap::new();
    for segment in critical_path(trace) {
        let span = &trace.spans[segment.span];
        let key = (span.service.as_str(), span.name.as_str());
        *times.entry(key).or_default() += segment.duration();
    }
    times
}
