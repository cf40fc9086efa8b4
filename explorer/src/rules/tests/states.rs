//! pending → firing → resolved, with their times and with hysteresis.

use super::{Bench, State, failed};
use crate::rules::state::{Machine, Verdict};

const BAD: Verdict = Verdict {
    bad: true,
    good: false,
};
const GOOD: Verdict = Verdict {
    bad: false,
    good: true,
};
/// Between the limit and the limit less the hysteresis.
const BETWEEN: Verdict = Verdict {
    bad: false,
    good: false,
};

#[test]
fn it_fires_after_its_time_and_is_resolved_after_the_other() {
    let mut machine = Machine::new(0);
    let mut step = |now, verdict| machine.step(now, verdict, 60, 30);
    assert_eq!(step(10, GOOD), None);
    assert_eq!(step(20, BAD), Some(State::Pending));
    assert_eq!(step(79, BAD), None);
    assert_eq!(step(80, BAD), Some(State::Firing));
    assert_eq!(step(90, GOOD), None);
    // A moment that is not good begins the wait again.
    assert_eq!(step(100, BETWEEN), None);
    assert_eq!(step(125, GOOD), None);
    assert_eq!(step(154, GOOD), None);
    assert_eq!(step(155, GOOD), Some(State::Resolved));
    assert_eq!(step(160, BAD), Some(State::Pending));
}

#[test]
fn what_is_bad_for_a_moment_does_not_fire() {
    let mut machine = Machine::new(0);
    assert_eq!(machine.step(1, BAD, 60, 0), Some(State::Pending));
    assert_eq!(machine.step(30, BETWEEN, 60, 0), Some(State::Inactive));
    assert_eq!(machine.step(61, BAD, 60, 0), Some(State::Pending));
    assert_eq!(machine.since, 61);
}

#[test]
fn without_times_it_fires_and_is_resolved_at_once() {
    let mut machine = Machine::new(0);
    assert_eq!(machine.step(1, BAD, 0, 0), Some(State::Firing));
    assert_eq!(machine.step(2, BETWEEN, 0, 0), None);
    assert_eq!(machine.step(3, GOOD, 0, 0), Some(State::Resolved));
}

#[test]
fn a_clock_that_goes_back_neither_panics_nor_fires() {
    let mut machine = Machine::new(1_000);
    assert_eq!(machine.step(1_000, BAD, 60, 0), Some(State::Pending));
    assert_eq!(machine.step(10, BAD, 60, 0), None);
    assert_eq!(machine.step(1_060, BAD, 60, 0), Some(State::Firing));
}

#[test]
fn the_history_has_every_change_and_the_report_the_worst_group() {
    let mut bench = Bench::new(
        r#"
        [[rules]]
        name = "errors"
        summary = "requests fail"
        kind = "error_rate"
        above = 0.5
        by = ["service.name"]
        window = "30s"
        for = "10s"
        "#,
    );
    let trace = bench.span("gateway", failed);
    bench.span("feature-store", |_| {});
    assert_eq!(bench.at(0), [State::Pending]);
    assert_eq!(bench.at(10), [State::Firing]);
    let rule = bench.rule();
    assert_eq!(rule.state, State::Firing);
    let states: Vec<_> = rule
        .groups
        .iter()
        .map(|group| (group.labels["service.name"].as_str(), group.state))
        .collect();
    assert_eq!(
        states,
        [
            ("feature-store", State::Inactive),
            ("gateway", State::Firing)
        ]
    );
    assert_eq!(rule.groups[1].traces[0].trace_id, trace);
    assert_eq!(
        rule.groups[1].traces[0].url,
        format!("http://explorer:8090/traces/{trace}")
    );
    assert_eq!(
        rule.groups[1].traces[0].api_url,
        format!("http://explorer:8090/api/traces/{trace}")
    );
    // The window has passed: nothing is left that is bad, and the traces stay in the history.
    assert_eq!(bench.at(45), [State::Resolved]);
    let rule = bench.rule();
    let history: Vec<_> = rule.history.iter().map(|change| change.state).collect();
    assert_eq!(history, [State::Resolved, State::Firing, State::Pending]);
    assert_eq!(rule.history[0].traces[0].trace_id, trace);
    // Later it is forgotten, but not its history.
    assert_eq!(bench.at(80), []);
    assert_eq!(bench.rule().groups.len(), 0);
    assert_eq!(bench.rule().history.len(), 3);
}
