//! Times as clients write them, and as old Python versions can read them.

use super::*;

#[test]
fn reads_iso_times_with_and_without_offset() {
    let noon = EventTime::from_micros(1_780_315_200_000_000).unwrap();
    for text in [
        "2026-06-01T12:00:00Z",
        "2026-06-01T12:00:00",
        "2026-06-01 12:00:00",
        "2026-06-01T14:00:00+02:00",
        " 2026-06-01T12:00:00.000000 ",
        "2026-06-02T11:59:00+23:59",
        "2026-06-01T12:00:00.000000999Z",
    ] {
        assert_eq!(EventTime::parse(text), Some(noon), "{text}");
    }
    assert_eq!(
        EventTime::parse("2026-06-01"),
        EventTime::parse("2026-06-01T00:00:00Z")
    );
    // A leap second is the second before it.
    assert_eq!(
        EventTime::parse("2016-12-31T23:59:60Z"),
        EventTime::parse("2016-12-31T23:59:59Z")
    );
    for text in [
        "",
        "noon",
        "2026-13-01T00:00:00Z",
        "1780315200",
        "-000001-01-01T00:00:00Z",
        "12:00",
        "NaT",
        "2026-06-02T12:00:00+24:00",
        "2026-06-01T00:00:00-25:59",
    ] {
        assert_eq!(EventTime::parse(text), None, "{text}");
    }
}

#[test]
fn writes_as_many_digits_as_needed() {
    for (micros, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (1_780_315_200_000_000, "2026-06-01T12:00:00Z"),
        (1_780_315_200_120_000, "2026-06-01T12:00:00.120Z"),
        (1_780_315_200_000_001, "2026-06-01T12:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (-62_135_596_800_000_000, "0001-01-01T00:00:00Z"),
    ] {
        let time = EventTime::from_micros(micros).unwrap();
        assert_eq!(time.to_rfc3339(), text);
        assert_eq!(EventTime::parse(text), Some(time));
    }
    assert_eq!(
        EventTime::from_micros(-62_135_596_800_000_001),
        None,
        "before the year 1"
    );
    assert_eq!(EventTime::from_micros(i64::MAX), None);
    assert_eq!(EventTime::from_micros(i64::MIN), None);
}

#[test]
fn the_whole_range_of_rfc_3339_is_read_and_written() {
    // jiff's `Timestamp` ends at 9999-12-30T22:00:00Z.
    for text in [
        "9999-12-31T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "9999-12-30T22:00:01Z",
        "0001-01-01T00:00:00Z",
    ] {
        let time = EventTime::parse(text).expect(text);
        assert_eq!(time.to_rfc3339(), text);
        assert_eq!(EventTime::from_micros(time.micros()), Some(time));
    }
    let last = EventTime::parse("9999-12-31T23:59:59.999999Z");
    for text in [
        "9999-12-31T23:59:59.999999999Z",
        "9999-12-31T23:59:59.999999",
        "9999-12-31T00:59:59.999999-23:00",
    ] {
        assert_eq!(EventTime::parse(text), last, "{text}");
    }
    for text in [
        "9999-12-31T23:59:59-00:01",
        "0001-01-01T00:00:00+00:01",
        "10000-01-01T00:00:00Z",
        "0000-12-31T23:59:59Z",
        "2026-06-01T12:00:00[Europe/Berlin]",
    ] {
        assert_eq!(EventTime::parse(text), None, "{text}");
    }
    assert_eq!(last.map(|last| last.saturating_add(Duration::MAX)), last);
}

#[test]
fn a_clock_that_is_set_does_not_make_time_pass() {
    let (clock, hands) = Clock::manual(EventTime(5));
    hands.set(EventTime(-5));
    let moment = clock.moment();
    assert_eq!((moment.time, moment.steady), (EventTime(-5), 0));
    hands.advance(Duration::from_micros(3));
    let moment = clock.moment();
    assert_eq!((moment.time, moment.steady), (EventTime(-2), 3));
}

#[test]
fn a_manual_clock_stands_still() {
    let (clock, hands) = Clock::manual(EventTime(5));
    assert_eq!(clock.now(), EventTime(5));
    hands.advance(Duration::from_secs(2));
    assert_eq!(
        (clock.now(), clock.clone().now()),
        (EventTime(2_000_005), EventTime(2_000_005))
    );
}

#[test]
fn the_systems_clock_is_of_this_century() {
    let now = Clock::system().now();
    assert!(
        EventTime::parse("2025-01-01") < Some(now) && Some(now) < EventTime::parse("2125-01-01"),
        "{now:?}"
    );
}

#[test]
fn a_duration_saturates() {
    assert_eq!(micros(Duration::MAX), i64::MAX);
}
