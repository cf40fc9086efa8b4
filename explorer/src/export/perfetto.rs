//! A trace in the JSON of Chrome's trace viewer, which <https://ui.perfetto.dev> opens.
//!
//! The Trace Event Format gives each event a process and a thread. A process is a service, a thread
//! is a row of it: within one thread, complete events (`X`) must nest, so that spans which overlap
//! without containing each other get rows of their own.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::trace::{SpanData, SpanStatus, Trace};

/// The whole trace as `{"traceEvents": […]}`.
pub fn perfetto(trace: &Trace) -> Value {
    let services = trace.services();
    let pids: HashMap<&str, usize> = std::iter::zip(services.iter().copied(), 1..).collect();
    let mut events: Vec<Value> = Vec::new();
    for (service, pid) in services.iter().zip(1..) {
        events.push(
            json!({"ph": "M", "pid": pid, "name": "process_name", "args": {"name": service}}),
        );
        events.push(json!({"ph": "M", "pid": pid, "name": "process_sort_index", "args": {"sort_index": pid}}));
    }
    let threads = threads(trace);
    let parents = trace.parent_indices();
    let start = trace.start();
    for (at, span) in trace.spans.iter().enumerate() {
        let place = Placed {
            start,
            pid: pids[span.service.as_str()],
            tid: threads[at],
        };
        events.push(place.complete(span));
        events.extend(span.events.iter().map(|event| {
            place.event(
                "i",
                &event.name,
                event.time,
                json!({"s": "t", "args": event.attributes}),
            )
        }));
        // An arrow for each call from one service to another.
        let caller = parents[at].filter(|parent| trace.spans[*parent].service != span.service);
        if let Some(parent) = caller {
            let caller = Placed {
                start,
                pid: pids[trace.spans[parent].service.as_str()],
                tid: threads[parent],
            };
            // An arrow begins within its slice.
            let from = &trace.spans[parent];
            let leaves = span.start.clamp(from.start, from.end.max(from.start));
            events.push(caller.event("s", "call", leaves, json!({"cat": "call", "id": at})));
            events.push(place.event(
                "f",
                "call",
                span.start,
                json!({"cat": "call", "id": at, "bp": "e"}),
            ));
        }
    }
    json!({
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {"trace_id": trace.trace_id, "start_unix_nano": start.to_string()},
    })
}

/// Where the events of a span stand.
struct Placed {
    /// Of the trace, in nanoseconds since 1970.
    start: u64,
    pid: usize,
    tid: usize,
}

impl Placed {
    fn complete(&self, span: &SpanData) -> Value {
        let mut args: Map<String, Value> = span.attributes.clone().into_iter().collect();
        args.insert("span_id".to_owned(), span.span_id.as_str().into());
        args.insert("kind".to_owned(), span.kind.to_string().into());
        if let Some(parent) = &span.parent {
            args.insert("parent_span_id".to_owned(), parent.as_str().into());
        }
        match &span.status {
            SpanStatus::Unset => {}
            SpanStatus::Ok => drop(args.insert("status".to_owned(), "OK".into())),
            SpanStatus::Error(message) => {
                args.insert(
                    "status".to_owned(),
                    format!("ERROR {message}").trim().into(),
                );
            }
        }
        let fields = json!({"cat": "span", "dur": micros(span.duration()), "args": args});
        self.event("X", &span.name, span.start, fields)
    }

    fn event(&self, phase: &str, name: &str, time: u64, fields: Value) -> Value {
        // From the start of the trace: microseconds since 1970 would lose the nanoseconds in a
        // double.
        let ts = micros(time.saturating_sub(self.start));
        let mut event =
            json!({"ph": phase, "name": name, "pid": self.pid, "tid": self.tid, "ts": ts});
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        event
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// For each span the number of its thread within its service, from 1: the first on which it nests.
fn threads(trace: &Trace) -> Vec<usize> {
    let mut by_start: Vec<usize> = (0..trace.spans.len()).collect();
    by_start.sort_by_key(|at| {
        let span = &trace.spans[*at];
        (span.start, u64::MAX - span.end, *at)
    });
    // Of each thread the ends of the spans that are open, the innermost last.
    let mut open: HashMap<&str, Vec<Vec<u64>>> = HashMap::new();
    let mut threads = vec![0; trace.spans.len()];
    for at in by_start {
        let span = &trace.spans[at];
        let end = span.end.max(span.start);
        let of_service = open.entry(&span.service).or_default();
        let nests = of_service.iter_mut().position(|ends| {
            while ends.last().is_some_and(|open_end| *open_end <= span.start) {
                ends.pop();
            }
            ends.last().is_none_or(|open_end| end <= *open_end)
        });
        let thread = nests.unwrap_or_else(|| {
            of_service.push(Vec::new());
            of_service.len() - 1
        });
        of_service[thread].push(end);
        threads[at] = thread + 1;
    }
    threads
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::perfetto;
    use crate::critical_path::tests::trace;
    use crate::waterfall::example;

    fn of_phase(document: &Value, phase: &str) -> Vec<Value> {
        let events = document["traceEvents"].as_array().expect("a list").iter();
        events
            .filter(|event| event["ph"] == phase)
            .cloned()
            .collect()
    }

    #[test]
    fn services_are_processes_and_calls_are_arrows() {
        let document = perfetto(&example::miss());
        let names: Vec<_> = of_phase(&document, "M")
            .into_iter()
            .filter(|event| event["name"] == "process_name")
            .map(|event| event["args"]["name"].clone())
            .collect();
        assert_eq!(names, ["gateway", "model-service", "feature-store"]);
        let spans = of_phase(&document, "X");
        assert_eq!(spans.len(), 15);
        assert_eq!(spans[7]["name"], "predict wine_quality");
        assert_eq!(
            (&spans[7]["ts"], &spans[7]["dur"]),
            (&5000.0.into(), &5900.0.into())
        );
        assert_eq!(spans[7]["args"]["ml.model_name"], "wine_quality");
        assert_eq!(of_phase(&document, "s").len(), 2);
        assert_eq!(of_phase(&document, "f").len(), 2);
    }

    proptest! {
        #[test]
        fn the_spans_of_a_thread_nest(
            spans in prop::collection::vec((1_u64..12, 0_u64..14, 0_u64..60, 0_u64..60), 1..40)
        ) {
            let document = perfetto(&trace(&spans));
            let spans: Vec<(i64, f64, f64)> = of_phase(&document, "X").iter().map(|span| {
                let (ts, dur) = (span["ts"].as_f64().unwrap(), span["dur"].as_f64().unwrap());
                (span["tid"].as_i64().unwrap(), ts, ts + dur)
            }).collect();
            for (at, a) in spans.iter().enumerate() {
                for b in &spans[at + 1..] {
                    let apart = a.2 <= b.1 + 1e-9 || b.2 <= a.1 + 1e-9;
                    let nested = (a.1 <= b.1 && b.2 <= a.2 + 1e-9) || (b.1 <= a.1 && a.2 <= b.2 + 1e-9);
                    prop_assert!(a.0 != b.0 || apart || nested, "{:?} {:?}", a, b);
                }
            }
        }
    }
}
