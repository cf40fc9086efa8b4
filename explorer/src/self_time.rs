//! Where the time of a trace went, by the names of its spans.

use std::collections::HashMap;

use crate::critical_path::critical_path;
use crate::trace::Trace;

/// The spans of one name in one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTime {
    pub name: String,
    pub service: String,
    /// Spans of that name.
    pub spans: usize,
    /// Nanoseconds in which such a span ran and none of its children did.
    pub self_time: u64,
    /// Nanoseconds of their durations, children included.
    pub total: u64,
    /// Nanoseconds in which such a span was on the critical path.
    pub critical: u64,
}

/// The time by name and service, the most self time first.
pub fn by_name(trace: &Trace) -> Vec<NameTime> {
    let mut critical = vec![0; trace.spans.len()];
    for segment in critical_path(trace) {
        critical[segment.span] += segment.duration();
    }
    let mut index = HashMap::new();
    let mut names: Vec<NameTime> = Vec::new();
    for ((span, self_time), critical) in trace.spans.iter().zip(self_times(trace)).zip(critical) {
        let at = *index.entry((&span.name, &span.service)).or_insert_with(|| {
            names.push(NameTime {
                name: span.name.clone(),
                service: span.service.clone(),
                spans: 0,
                self_time: 0,
                total: 0,
                critical: 0,
            });
            names.len() - 1
        });
        let name = &mut names[at];
        name.spans += 1;
        name.self_time = name.self_time.saturating_add(self_time);
        name.total = name.total.saturating_add(span.duration());
        name.critical += critical;
    }
    names.sort_by_key(|name| (u64::MAX - name.self_time, u64::MAX - name.total));
    names
}

/// For each span the nanoseconds that none of its children covers. Children beside each other cover
/// a moment once, and what they do outside their parent covers nothing of it.
pub fn self_times(trace: &Trace) -> Vec<u64> {
    let mut children: Vec<Vec<(u64, u64)>> = vec![Vec::new(); trace.spans.len()];
    for (span, parent) in trace.spans.iter().zip(trace.parent_indices()) {
        if let Some(parent) = parent {
            children[parent].push((span.start, span.end));
        }
    }
    let spans = trace.spans.iter().zip(children);
    spans
        .map(|(span, mut children)| {
            children.sort_unstable();
            let (mut covered, mut until) = (0, span.start);
            for (start, end) in children {
                let (start, end) = (start.max(until), end.min(span.end));
                if start < end {
                    covered += end - start;
                    until = end;
                }
            }
            span.duration() - covered
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{by_name, self_times};
    use crate::critical_path::tests::trace;
    use crate::waterfall::example;

    #[test]
    fn children_beside_each_other_cover_a_moment_once() {
        let trace = trace(&[
            (1, 0, 100, 200),
            (2, 1, 50, 120),
            (3, 1, 110, 150),
            (4, 1, 180, 500),
        ]);
        assert_eq!(self_times(&trace), [30, 70, 40, 320]);
    }

    #[test]
    fn names_are_added_up_and_the_slowest_is_first() {
        let names = by_name(&example::miss());
        assert_eq!(names[0].name, "layer linear_1");
        assert_eq!(names[0].self_time, 3_500_000);
        let post: Vec<_> = names.iter().filter(|name| name.name == "POST").collect();
        assert_eq!(post.len(), 2, "one for each service: {post:?}");
        let total: u64 = names.iter().map(|name| name.self_time).sum();
        assert_eq!(total, 12_400_000, "no span of a miss runs beside another");
        let critical: u64 = names.iter().map(|name| name.critical).sum();
        assert_eq!(critical, 12_400_000);
    }

    proptest! {
        #[test]
        fn self_time_is_never_more_than_the_duration(
            spans in prop::collection::vec((1_u64..12, 0_u64..14, 0_u64..60, 0_u64..60), 1..40)
        ) {
            let trace = trace(&spans);
            for (span, own) in trace.spans.iter().zip(self_times(&trace)) {
                prop_assert!(own <= span.duration(), "{own} of {span:?}");
            }
        }
    }
}
