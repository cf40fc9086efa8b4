//! The token bucket, with a clock of the test's own.

use std::time::Duration;

use super::*;

#[test]
fn a_bucket_admits_its_burst_and_then_its_rate() {
    let rate = Rate {
        per_second: 10.0,
        burst: 3,
    };
    let mut bucket = Bucket::new(rate);
    let start = bucket.counted_at;
    let at = |millis| start + Duration::from_millis(millis);
    let mut take = |millis| bucket.take(at(millis)).is_ok();
    assert_eq!([0; 4].map(&mut take), [true, true, true, false]);
    // A token comes every 100 ms.
    assert_eq!(
        [99, 100, 150, 200].map(&mut take),
        [false, true, false, true]
    );
    // A long pause gives no more than the burst, and a clock that goes back gives nothing.
    assert_eq!([60_000; 4].map(&mut take), [true, true, true, false]);
    assert!(!take(0) && !take(60_050) && take(60_100));
}

#[test]
fn the_wait_is_as_long_as_a_token_needs() {
    let rate = Rate {
        per_second: 0.25,
        burst: 1,
    };
    let mut bucket = Bucket::new(rate);
    let start = bucket.counted_at;
    assert_eq!(bucket.take(start), Ok(()));
    assert_eq!(bucket.take(start), Err(Duration::from_secs(4)));
    let over = |wait| OverLimit::Rate { wait }.retry_after();
    let later = bucket.take(start + Duration::from_millis(500)).unwrap_err();
    assert_eq!((over(later), over(Duration::from_millis(1))), (4, 1));
    assert_eq!(over(Duration::ZERO), 1);
}

#[test]
fn requests_in_flight_are_counted_until_they_end() {
    let limits = Limits::new(&KeyEntry {
        name: "a".to_owned(),
        sha256: [0; 32],
        rate: Some(Rate {
            per_second: 1e-6,
            burst: 3,
        }),
        max_in_flight: Some(1),
    });
    let first = limits.admit().unwrap();
    // What is refused for its company takes no token: the burst is there for the two after it.
    for _ in 0..5 {
        assert_eq!(limits.admit().unwrap_err(), OverLimit::InFlight);
    }
    drop(first);
    drop(limits.admit().unwrap());
    drop(limits.admit().unwrap());
    assert!(matches!(limits.admit(), Err(OverLimit::Rate { .. })));
}
