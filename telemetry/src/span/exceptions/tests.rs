//! The rate of equal exceptions, and the length of a stack trace.

use super::*;

#[test]
fn equal_exceptions_are_counted_after_the_first_ones() {
    let mut limiter = Limiter::default();
    let start = Instant::now();
    for _ in 0..MAX_RECORDS {
        assert_eq!(limiter.admit(1, start), Some(0));
    }
    for _ in 0..1000 {
        assert_eq!(limiter.admit(1, start), None);
    }
    assert_eq!(limiter.admit(2, start), Some(0), "another kind");
    assert_eq!(limiter.admit(1, start + INTERVAL), Some(1000));
    assert_eq!(limiter.admit(1, start + INTERVAL), Some(0));
}

#[test]
fn the_memory_of_the_limiter_is_bounded() {
    let mut limiter = Limiter::default();
    let start = Instant::now();
    let admitted = (1..=10_000).filter(|kind| limiter.admit(*kind, start).is_some());
    assert_eq!(admitted.count(), MAX_KINDS + MAX_RECORDS as usize);
    assert!(limiter.kinds.len() <= MAX_KINDS + 1);
    assert!(limiter.admit(20_000, start + INTERVAL).is_some());
    assert!(limiter.kinds.len() <= MAX_KINDS + 1);
}

#[test]
fn messages_that_differ_in_their_numbers_are_equal() {
    let here = Location::caller();
    let of = |message| kind(message, "timeout", here);
    assert_eq!(
        of("no answer from 10.0.0.1:80"),
        of("no answer from 10.0.0.22:8080")
    );
    assert_ne!(of("no answer"), of("no entry"));
    assert_ne!(of("no answer"), kind("no answer", "connect_error", here));
}

#[test]
fn a_stack_trace_has_a_place_and_causes_and_an_end() {
    let cause = std::io::Error::other("é".repeat(MAX_TRACE));
    let text = stack_trace(&cause, Location::caller());
    assert!(
        text.starts_with("éé") && text.len() <= MAX_TRACE,
        "{}",
        text.len()
    );
}
