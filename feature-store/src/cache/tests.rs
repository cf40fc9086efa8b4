//! Tickets, writes and ages in every interleaving.

use super::*;
use crate::backend::conformance::{self, key, number};
use crate::time::Moment;

const SECOND: i64 = 1_000_000;

/// So long after the start, by both clocks.
fn at(micros: i64) -> Moment {
    clocks(micros, micros)
}

fn clocks(time: i64, steady: i64) -> Moment {
    Moment {
        time: conformance::at(time),
        steady,
    }
}

fn cache() -> RowCache {
    RowCache::new(100, 5 * SECOND)
}

/// Reads through: ticket, row, fill.
fn fill(cache: &RowCache, name: &str, value: i64) {
    let ticket = cache.ticket(0, &key(name));
    cache.fill(ticket, 0, key(name), number(1, value), at(0));
}

#[test]
fn keeps_what_was_read() {
    let cache = cache();
    assert_eq!(cache.get(0, &key("a"), at(0)), None);
    fill(&cache, "a", 7);
    assert_eq!(cache.get(0, &key("a"), at(0)), Some(number(1, 7)));
    assert_eq!(cache.get(1, &key("a"), at(0)), None, "another view");
    assert_eq!(cache.get(0, &key("b"), at(0)), None, "another entity");
}

#[test]
fn forgets_what_is_too_old() {
    let cache = cache();
    fill(&cache, "a", 7);
    assert!(cache.get(0, &key("a"), at(5 * SECOND)).is_some());
    assert_eq!(cache.get(0, &key("a"), at(5 * SECOND + 1)), None);
    assert_eq!(
        cache.get(0, &key("a"), at(-1)),
        None,
        "a clock that was set back proves nothing"
    );
}

#[test]
fn a_clock_that_steps_keeps_no_row_longer() {
    const DAY: i64 = 86_400 * SECOND;
    let cache = cache();
    fill(&cache, "a", 7);
    let get = |time, steady| cache.get(0, &key("a"), clocks(time, steady));
    // The clock was set back a day, and has come again to where it was at the read.
    assert_eq!(get(-DAY, SECOND), None);
    assert_eq!(get(0, DAY), None, "a day has passed since the read");
    assert_eq!(get(3 * SECOND, 6 * SECOND), None);
    // The machine slept for a day.
    assert_eq!(get(DAY, SECOND), None);
    assert!(get(SECOND, SECOND).is_some());
}

#[test]
fn a_write_removes_the_row() {
    let cache = cache();
    fill(&cache, "a", 7);
    fill(&cache, "b", 8);
    let writing = cache.writing(0, [key("a")].iter());
    assert_eq!(cache.get(0, &key("a"), at(0)), None);
    drop(writing);
    assert_eq!(cache.get(0, &key("a"), at(0)), None);
    assert_eq!(cache.get(0, &key("b"), at(0)), Some(number(1, 8)));
}

#[test]
fn a_read_that_began_before_a_write_stays_out() {
    let cache = cache();
    let ticket = cache.ticket(0, &key("a"));
    drop(cache.writing(0, [key("a")].iter()));
    cache.fill(ticket, 0, key("a"), number(1, 7), at(0));
    assert_eq!(cache.get(0, &key("a"), at(0)), None);
}

#[test]
fn a_read_that_began_during_a_write_stays_out() {
    let cache = cache();
    let writing = cache.writing(0, [key("a")].iter());
    let ticket = cache.ticket(0, &key("a"));
    cache.fill(ticket, 0, key("a"), number(1, 7), at(0));
    assert_eq!(
        cache.get(0, &key("a"), at(0)),
        None,
        "while the write goes on"
    );
    drop(writing);
    cache.fill(ticket, 0, key("a"), number(1, 7), at(0));
    assert_eq!(cache.get(0, &key("a"), at(0)), None, "and after it");
}

#[test]
fn a_read_that_began_before_and_ends_during_a_write_stays_out() {
    let cache = cache();
    let ticket = cache.ticket(0, &key("a"));
    let writing = cache.writing(0, [key("a")].iter());
    cache.fill(ticket, 0, key("a"), number(1, 7), at(0));
    drop(writing);
    assert_eq!(cache.get(0, &key("a"), at(0)), None);
}

#[test]
fn overlapping_writes_of_one_row_both_count() {
    let cache = cache();
    let first = cache.writing(0, [key("a")].iter());
    let second = cache.writing(0, [key("a"), key("a")].iter());
    drop(first);
    fill(&cache, "a", 7);
    assert_eq!(cache.get(0, &key("a"), at(0)), None, "the second goes on");
    drop(second);
    fill(&cache, "a", 7);
    assert_eq!(
        cache.get(0, &key("a"), at(0)),
        Some(number(1, 7)),
        "afterwards the row may come back"
    );
}

#[test]
fn is_bounded() {
    let cache = cache();
    (0..1_000).for_each(|at| fill(&cache, &format!("row-{at}"), at));
    let kept = (0..1_000)
        .filter(|n| cache.get(0, &key(&format!("row-{n}")), at(0)).is_some())
        .count();
    assert!((50..=110).contains(&kept), "{kept} rows of about 100");
    let none = RowCache::new(0, SECOND);
    fill(&none, "a", 7);
    assert_eq!(
        none.get(0, &key("a"), at(0)),
        None,
        "capacity 0 keeps nothing"
    );
}
